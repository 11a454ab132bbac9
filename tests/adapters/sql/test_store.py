"""`SqlStore` keeps the promises of a store on both databases, and some of its own."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from nas.adapters.sql.store import SqlStore
from nas.errors import StateError
from tests.contracts.samples import CANDIDATE, NOTHING, SEARCH, contents, fill
from tests.contracts.store import StoreContract

Open = Callable[[str], SqlStore]


class TestContract(StoreContract):
    """Over an SQLite file and PostgreSQL (the ``store`` of conftest)."""


class TestContractInMemory(StoreContract):
    """Over SQLite without a file."""

    @pytest.fixture
    def store(self, open_: Open) -> SqlStore:
        return open_("sqlite://")


def test_reopening_keeps_everything(url: str, open_: Open) -> None:
    first = open_(url)
    fill(first)
    first.save_device_profile("cpu", {"a": 1}, at=1.0)
    before = contents(first)
    first.close()
    second = open_(first.url)
    assert contents(second) == before
    assert second.device_profile("cpu") == {"a": 1}


def test_others_see_a_transaction_when_it_is_done(url: str, open_: Open) -> None:
    writer, reader = open_(url), open_(url)
    with writer.transaction():
        writer.add_search(SEARCH)
        assert reader.searches() == []
    assert reader.searches() == [SEARCH]


def test_a_transaction_belongs_to_its_thread(store: SqlStore) -> None:
    seen: list[object] = []
    with store.transaction():
        store.add_search(SEARCH)
        thread = threading.Thread(target=lambda: seen.extend([store.searches()]))
        thread.start()
        thread.join()
    assert seen == [[]]


def test_threads_number_the_events_of_one_search(store: SqlStore) -> None:
    store.add_search(SEARCH)
    other = threading.Thread(target=store.add_event, args=("s", "kind", "second"), kwargs={"at": 2.0})
    with store.transaction():
        store.add_event("s", "kind", "first", at=1.0)
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive(), "the other waits until the first number is settled"
    other.join()
    assert [event.message for event in store.events("s")] == ["first", "second"]


def test_text_that_no_database_holds_is_mended(store: SqlStore) -> None:
    store.add_search(replace(SEARCH, reason="nul \0, lone \ud800 and a pair \N{LLAMA}", spec={"text": "nul \0"}))
    assert store.search("s").reason == "nul \ufffd, lone \ufffd and a pair \N{LLAMA}"
    assert store.search("s").spec == {"text": "nul \0"}


def test_a_record_without_a_finite_time_is_refused(store: SqlStore) -> None:
    with pytest.raises(StateError, match="search 's' cannot be stored"):
        store.add_search(replace(SEARCH, created_at=math.inf))


def test_flops_must_be_integers(store: SqlStore) -> None:
    store.add_search(SEARCH)
    with pytest.raises(TypeError, match="float"):
        store.add_candidate(replace(CANDIDATE, train_flops_spent=1e21))  # type: ignore[arg-type]
    assert store.candidates("s") == []


def test_errors_of_the_caller_pass_untouched(store: SqlStore) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), store.transaction():
        raise FileNotFoundError("mine")


def test_closing_a_fenced_store_leaves_the_other_open(open_: Open) -> None:
    store = open_("sqlite://")  # which would lose its rows
    fill(store)
    lease = store.lease("s")
    assert lease is not None
    store.fenced(lease).close()
    assert store.fenced(lease).update_search("s", reason="r") == store.search("s")


def test_deleting_a_search_deletes_its_rows(store: SqlStore) -> None:
    fill(store)
    engine = create_engine(store.url)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA foreign_keys = ON"))
        connection.execute(text("DELETE FROM searches"))
    engine.dispose()
    assert contents(store) == NOTHING
