"""Addresses, and the table by which errors of the databases become ours."""

import sqlite3
import sys
from errno import EACCES, ENOSPC
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError, TimeoutError

from nas.adapters.sql.engine import redacted_url
from nas.adapters.sql.errors import refusals
from nas.adapters.sql.store import open_store, sqlalchemy_url
from nas.errors import (
    DiskFullError,
    MissingDependencyError,
    NasError,
    NotFoundError,
    SpecError,
    StateError,
    StorageError,
)


def of_sqlite(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(f"words of {name}")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (of_sqlite("SQLITE_FULL"), DiskFullError, "disk is full"),
        (of_sqlite("SQLITE_BUSY_SNAPSHOT"), StorageError, "another writer"),
        (of_sqlite("SQLITE_LOCKED"), StorageError, "another writer"),
        (of_sqlite("SQLITE_READONLY_DIRECTORY"), StorageError, "read-only"),
        (of_sqlite("SQLITE_CANTOPEN"), StorageError, "cannot be opened"),
        (of_sqlite("SQLITE_IOERR_WRITE"), StorageError, "disk fails"),
        (of_sqlite("SQLITE_CORRUPT"), StorageError, "damaged"),
        (of_sqlite("SQLITE_ERROR"), StorageError, "it refuses"),
        (pg.DiskFull("words"), DiskFullError, "server's disk is full"),
        (pg.TooManyConnections("words"), StorageError, "no connection left"),
        (pg.LockNotAvailable("words"), StorageError, "another writer"),
        (pg.DeadlockDetected("words"), StorageError, "try again"),
        (pg.ReadOnlySqlTransaction("words"), StorageError, "primary server"),
        (pg.InsufficientPrivilege("words"), StorageError, "lacks a permission"),
        (pg.AdminShutdown("words"), StorageError, "cannot be reached"),
        (psycopg.OperationalError("words"), StorageError, "cannot be reached"),
        (pg.UndefinedTable("words"), StorageError, "it refuses"),
    ],
    ids=lambda value: getattr(value, "sqlite_errorname", type(value).__name__) if isinstance(value, Exception) else "",
)
def test_what_a_database_refuses_is_told_with_a_remedy(error: Any, kind: type[NasError], message: str) -> None:
    with pytest.raises(kind, match=f"^database here: .*{message}.*words") as caught, refusals("here"):
        raise OperationalError("SELECT secret", {}, error)
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (pg.UniqueViolation("words"), StateError, "^candidate 7 in search 'x' exists already$"),
        (pg.ForeignKeyViolation("words"), NotFoundError, "^no search 'x'$"),
        (pg.NotNullViolation("words"), StateError, "^candidate 7 in search 'x' cannot be stored"),
    ],
    ids=["unique", "parent", "required"],
)
def test_a_broken_rule_names_its_row(error: Any, kind: type[NasError], message: str) -> None:
    with pytest.raises(kind, match=message), refusals("here", "candidate 7 in search 'x'", "search 'x'"):
        raise IntegrityError("INSERT", {}, error)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(ENOSPC, "No space left"), DiskFullError, "disk is full"),
        (OSError(EACCES, "Permission denied"), StorageError, "permissions"),
        (TimeoutError("QueuePool limit"), StorageError, "another writer"),
        (InvalidRequestError("rolled back"), StorageError, "it refuses"),
    ],
    ids=["full", "denied", "pool", "other"],
)
def test_errors_that_are_not_of_a_database(error: Exception, kind: type[NasError], message: str) -> None:
    with pytest.raises(kind, match=message), refusals("here"):
        raise error


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("sqlite://", "sqlite://"),
        ("postgresql://u:p@h:1/d?x=y", "postgresql+psycopg://u:p@h:1/d?x=y"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
    ],
)
def test_addresses_as_sqlalchemy_wants_them(url: str, expected: str) -> None:
    assert sqlalchemy_url(url) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////home/a@b@c/nas.db", "sqlite:////home/a%40b%40c/nas.db"),
        ("sqlite://", "sqlite://"),
        ("postgresql:///d", "postgresql+psycopg:///d"),
        ("postgresql://u:secret@h/a%40b", "postgresql+psycopg://u:***@h/a%40b"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://u:secret@h:1/d", "postgresql+psycopg://u:***@h:1/d"),
        ("postgresql://u:s%40cret@[::1]/d", "postgresql+psycopg://u:***@[::1]/d"),
        ("postgresql://h/d?password=secret", "postgresql+psycopg://h/d?password=***"),
        ("postgresql://h/d?PASSWORD=secret", "postgresql+psycopg://h/d?PASSWORD=***"),
        ("postgresql://h/d?password=secret&password=cret", "postgresql+psycopg://h/d?password=***"),
        ("postgresql://h/d?sslpassword=s%26cret&sslmode=require",
         "postgresql+psycopg://h/d?sslmode=require&sslpassword=***"),
        ("postgresql://u:secret@h/d?oauth_client_secret=secret&oauth_client_id=nas",
         "postgresql+psycopg://u:***@h/d?oauth_client_id=nas&oauth_client_secret=***"),
        ("postgresql://h/d?passfile=nas.pgpass&sslkey=nas.key", "postgresql+psycopg://h/d?passfile=nas.pgpass&sslkey=nas.key"),
    ],
)  # fmt: skip
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert redacted_url(url) == shown
    assert "cret" not in shown.replace("client_secret", "")


@pytest.mark.parametrize("url", ["postgresql://u:a@secret@h/d", "postgresql://u:a@b/secret@h/d"])
def test_an_address_whose_password_would_be_taken_for_a_host(url: str) -> None:
    with pytest.raises(SpecError, match="must have an @ of the password as %40") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "nas.db",
        "",
        "mysql://u:secret@h/d",
        "postgresql+psycopg2://u:secret@h/d",
        "postgresql://u:secret@h:port/d",
        "//u:secret@h",
        "mysql://h/d?password=secret",
        "postgresql:/h/d?password=secret",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SpecError, match="must be sqlite:///path/to/file or postgresql://") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        open_store("postgresql://user:secret@127.0.0.1:1/nas")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependencyError, match=r"install nas\[postgres\]"):
        open_store("postgresql://u@h/d")
