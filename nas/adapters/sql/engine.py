"""Connections: how SQLite and PostgreSQL must be set up to keep the store's promises."""

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from nas.adapters.sql.errors import WAIT_SECONDS
from nas.errors import MissingDependencyError, SpecError

WRITE: Any = {"nas_write": True}
"""Execution options of a connection that will write; to be splatted into ``execution_options``."""

IDLE_SECONDS = 1800
"""Age at which a pooled connection is replaced: firewalls drop those that idle for about an hour."""

_HIDDEN = "***"
_SECRET = re.compile("passw|secret|token", re.IGNORECASE)


def sqlalchemy_url(url: str) -> str:
    """The address as SQLAlchemy wants it, with psycopg 3 as PostgreSQL's driver.

    Raises:
        SpecError: neither SQLite nor PostgreSQL.
    """
    return _parse(url).render_as_string(hide_password=False)


def redacted_url(url: str) -> str:
    """The address without its secrets, for messages."""
    return _redacted(_parse(url))


def is_secret(option: str) -> bool:
    """Whether an option of a connection, by its name, is not for others' eyes: ``password``, ``sslpassword``,
    ``oauth_client_secret``. A ``passfile`` is the name of a file."""
    return _SECRET.search(option) is not None


def _redacted(url: URL) -> str:
    """Secrets may stand in the query too."""
    query = {name: _HIDDEN if is_secret(name) else value for name, value in url.query.items()}
    shown = url.set(query=query).render_as_string(hide_password=True)
    return shown.replace("=%2A%2A%2A", f"={_HIDDEN}")


def create(url: str) -> Engine:
    """An engine for one database; the folder of an SQLite file is made."""
    parsed = _parse(url)
    return _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)


def _parse(url: str) -> URL:
    rule = "must be sqlite:///path/to/file or postgresql://user:password@host/name"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        secret = "@" in url or is_secret(url)
        raise SpecError("database", rule, None if secret else url) from None
    if parsed.drivername != "sqlite" and url.partition("?")[0].count("@") > 1:  # a password's, and would be shown
        raise SpecError("database", "must have an @ of the password as %40, a / as %2F", None)
    if parsed.drivername == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise SpecError("database", rule, _redacted(parsed))
    return parsed


def _sqlite(url: URL) -> Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": WAIT_SECONDS, "check_same_thread": False}}
    if url.database in (None, "", ":memory:"):
        # The database lives in its connection: there is one, and threads take turns.
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": WAIT_SECONDS}
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    connection.execute("PRAGMA foreign_keys = ON")
    _enable_wal(connection)


def _enable_wal(connection: Any) -> None:
    """Let readers go on while one writes (SQLite's write-ahead log); a setting that stays with the file."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait for this lock, and another process may be opening the same new file.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at its start: one that has read first could not wait for it any more.
    write = connection.get_execution_options().get("nas_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True, pool_recycle=IDLE_SECONDS, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError as error:
        raise MissingDependencyError("PostgreSQL needs psycopg 3: install nas[postgres]") from error
    event.listen(engine, "connect", _configure_postgresql)
    return engine


def _configure_postgresql(connection: Any, _record: Any) -> None:
    connection.execute(f"SET lock_timeout = '{WAIT_SECONDS}s'")
    connection.commit()  # or the setting goes with the transaction
