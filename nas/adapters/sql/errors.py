"""The one place where errors of a database become errors of ours.

SQLite names its errors (``SQLITE_FULL``), PostgreSQL numbers them (SQLSTATE ``53100``); the longest prefix wins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError, TimeoutError

from nas.errors import DiskFullError, NasError, NotFoundError, StateError, StorageError

WAIT_SECONDS = 30
"""How long a statement waits for another writer before it gives up."""

_LOCKED = f"another writer held it for more than {WAIT_SECONDS} s: end that process"
_LOCKED_FILE = f"{_LOCKED}, or use PostgreSQL for several writers"
_UNREACHABLE = "the server cannot be reached or refuses the login: check that it runs, the address and the password"
_NOT_A_DATABASE = "the file is no SQLite database, or a damaged one: restore a backup or name another file"

_REFUSALS: dict[str, tuple[type[StorageError], str]] = {
    "SQLITE_FULL": (DiskFullError, "the disk is full: free some space and resume"),
    "SQLITE_BUSY": (StorageError, _LOCKED_FILE),
    "SQLITE_LOCKED": (StorageError, _LOCKED_FILE),
    "SQLITE_READONLY": (StorageError, "it is read-only: check the permissions of the file and its folder"),
    "SQLITE_CANTOPEN": (StorageError, "the file cannot be opened: check its path and permissions"),
    "SQLITE_IOERR": (StorageError, "the disk fails: check that it is mounted, writable and not full"),
    "SQLITE_NOTADB": (StorageError, _NOT_A_DATABASE),
    "SQLITE_CORRUPT": (StorageError, _NOT_A_DATABASE),
    "53100": (DiskFullError, "the server's disk is full: free some space there and resume"),
    "53300": (StorageError, "the server has no connection left: end other clients or raise max_connections"),
    "55P03": (StorageError, _LOCKED),
    "40": (StorageError, "another transaction was in the way: try again"),
    "25006": (StorageError, "it is read-only: connect to the primary server"),
    "42501": (StorageError, "the user lacks a permission: grant it, or connect as the owner"),
    "08": (StorageError, _UNREACHABLE),
    "57P": (StorageError, _UNREACHABLE),
}
_UNIQUE = ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE", "23505")
_MISSING_PARENT = ("SQLITE_CONSTRAINT_FOREIGNKEY", "23503")


@contextmanager
def refusals(place: str, row: str = "row", parent: str = "parent") -> Iterator[None]:
    """Raise what the database refuses as our errors.

    Args:
        place: the database, named without its password.
        row: what is being written, e.g. ``candidate 7 in search 'x'``.
        parent: what the row belongs to, e.g. ``search 'x'``.
    """
    try:
        yield
    except IntegrityError as error:
        raise _broken_rule(error, row, parent) from error
    except (SQLAlchemyError, OSError) as error:
        if (mistake := _of_the_caller(error)) is not None:
            raise mistake from error
        raise _refusal(error, place) from error


def _of_the_caller(error: Exception) -> BaseException | None:
    """A value of a wrong type, e.g. FLOPs as a float: never sent to the database, and a mistake in our code."""
    sent = isinstance(error, DBAPIError)
    return error.orig if isinstance(error, StatementError) and not sent else None


def _broken_rule(error: IntegrityError, row: str, parent: str) -> NasError:
    code = _code(error)
    if code in _UNIQUE:
        return StateError(f"{row} exists already")
    if code in _MISSING_PARENT:
        return NotFoundError(f"no {parent}")
    return StateError(f"{row} cannot be stored, a required value is missing or not finite: {_words(error)}")


def _refusal(error: SQLAlchemyError | OSError, place: str) -> StorageError:
    code = _code(error)
    matching = [prefix for prefix in _REFUSALS if code.startswith(prefix)]
    kind, advice = _REFUSALS[max(matching, key=len)] if matching else (StorageError, "it refuses")
    return kind(f"database {place}: {advice} ({_words(error)})")


def _code(error: SQLAlchemyError | OSError) -> str:
    """The database's name or number of an error, or that of the nearest kin."""
    if isinstance(error, OSError):
        return "SQLITE_FULL" if error.errno == ENOSPC else "SQLITE_CANTOPEN"
    if isinstance(error, TimeoutError):  # of the connection pool
        return "55P03"
    if not isinstance(error, DBAPIError):
        return ""
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    if code is None and _of_psycopg(error) and type(error.orig).__name__ == "OperationalError":
        return "08"  # psycopg gives no SQLSTATE when it cannot connect or loses the connection
    return code or ""


def _of_psycopg(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("psycopg")


def _words(error: SQLAlchemyError | OSError) -> str:
    """The database's own words, without the statement and its values."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return str(said).strip().partition("\n")[0]
