"""What only SQLite does: its modes, its locks, its full disk."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from nas.adapters.sql import engine as engines
from nas.adapters.sql.store import SqlStore, open_store
from nas.errors import DiskFullError, StorageError
from tests.contracts.samples import CANDIDATE, SEARCH, fill

Open = Callable[[str], SqlStore]

BULK = {"text": "x" * 4096 * 100}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folders" / "nas.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@contextmanager
def limited_to(pages: int) -> Iterator[None]:
    """New connections to SQLite find the disk full when the database has this many pages of 4 KiB."""

    def limit(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


def test_readers_go_on_while_one_writes(store: SqlStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_another_program_holds_is_waited_for(path: Path, url: str, open_: Open) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE notes (text)")
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.execute, ["ROLLBACK"])
        release.start()
        open_(url).add_search(SEARCH)
        release.join()


def test_a_file_that_another_program_keeps(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "WAIT_SECONDS", 0.1)
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE notes (text)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another writer held it"):
            open_store(url)


def test_a_full_disk_says_so_and_keeps_what_was_there(store: SqlStore, url: str, open_: Open) -> None:
    fill(store)
    store.close()
    with limited_to(pages=60):
        small = open_(url)
        with pytest.raises(DiskFullError, match=r"nas\.db: the disk is full: free some space and resume"):
            small.update_candidate("s", 0, plan=BULK)
        assert small.candidate("s", 0) == CANDIDATE
        small.update_candidate("s", 0, reason="still writable")


def test_a_full_disk_inside_a_transaction_leaves_nothing_of_it(store: SqlStore, url: str, open_: Open) -> None:
    store.close()
    with limited_to(pages=60):
        small = open_(url)
        with pytest.raises(StorageError), small.transaction():
            small.add_search(SEARCH)
            with pytest.raises(DiskFullError):
                small.add_search(replace(SEARCH, id="t", spec=BULK))
            small.add_search(replace(SEARCH, id="u"))
        assert small.searches() == []


def test_a_second_writer_waits_and_then_says_so(
    url: str, path: Path, open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_(url).add_search(SEARCH)
    monkeypatch.setattr(engines, "WAIT_SECONDS", 0.1)
    patient = open_(url)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"another writer held it .* or use PostgreSQL"):
            patient.update_search("s", reason="r")
        assert patient.searches() == [SEARCH]
        other.execute("ROLLBACK")
    assert patient.update_search("s", reason="r").reason == "r"


def test_a_file_that_is_no_database(path: Path, url: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("the quick brown fox " * 100)
    with pytest.raises(StorageError, match=r"nas\.db: the file is no SQLite database, or a damaged one"):
        open_store(url)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="check its path and permissions"):
        open_store(f"sqlite:///{tmp_path}/file/nas.db")
