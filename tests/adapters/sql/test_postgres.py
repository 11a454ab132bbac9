"""What only a server does: it goes away, has a clock of its own, and several writers at once."""

from collections.abc import Callable

import psycopg
import pytest

from nas.adapters.sql import dialects
from nas.adapters.sql.store import SqlStore
from nas.errors import LeaseError, StorageError
from tests.contracts.samples import SEARCH, fill

Open = Callable[[str], SqlStore]


@pytest.fixture
def store(postgres_url: str, open_: Open) -> SqlStore:
    return open_(f"{postgres_url}&application_name=store")


def drop_connections(url: str) -> None:
    """What a restart of the server does to the store."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'store'")


def test_an_idle_store_connects_again(store: SqlStore, postgres_url: str) -> None:
    drop_connections(postgres_url)
    store.add_search(SEARCH)
    assert store.searches() == [SEARCH]


def test_a_lost_connection_undoes_its_transaction(store: SqlStore, postgres_url: str) -> None:
    with pytest.raises(StorageError, match="cannot be reached"), store.transaction():
        store.add_search(SEARCH)
        drop_connections(postgres_url)
        store.update_search("s", reason="r")
    assert store.searches() == []


def test_a_database_that_does_not_exist(postgres_url: str, open_: Open) -> None:
    with pytest.raises(StorageError, match='database "nowhere" does not exist'):
        open_(postgres_url.replace("/postgres?", "/nowhere?"))


def test_the_time_is_the_servers(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "time", None)
    fill(store)
    lease = store.lease("s")
    assert lease is not None
    assert lease.renewed_at <= store.now()


def test_one_holder_writes_and_renews_at_once(store: SqlStore, postgres_url: str, open_: Open) -> None:
    fill(store)
    lease = store.lease("s")
    assert lease is not None
    other = open_(postgres_url)
    with store.fenced(lease).transaction():
        other.fenced(lease).save_device_profile("cpu", {}, at=1.0)
        assert other.renew_lease(lease, 60).expires_at > lease.expires_at
        other.drop_lease(lease)


def test_a_savepoint_that_is_undone_takes_its_fence_with_it(store: SqlStore, postgres_url: str, open_: Open) -> None:
    fill(store)
    lease = store.lease("s")
    assert lease is not None
    fenced = store.fenced(lease)
    with store.transaction():
        with pytest.raises(ZeroDivisionError), fenced.transaction():
            raise ZeroDivisionError
        open_(postgres_url).take_lease("s", "host:2", 60, replacing=lease)
        with pytest.raises(LeaseError):
            fenced.update_search("s", reason="late")
