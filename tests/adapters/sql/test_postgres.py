"""What only a server does: it goes away."""

from collections.abc import Callable

import psycopg
import pytest

from nas.adapters.sql.store import SqlStore
from nas.errors import StorageError
from tests.contracts.samples import SEARCH

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
