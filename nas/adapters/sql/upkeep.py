"""Looking at a database without changing it, and copies of it: on request, and before its schema is changed.

A copy holds the whole database, so also the tables that others (Optuna's storage) keep there.
"""

import logging
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, func, inspect, make_url, select, table
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from nas.adapters.sql import schema
from nas.adapters.sql.engine import create, is_secret, redacted_url, sqlalchemy_url
from nas.adapters.sql.errors import WAIT_SECONDS, refusals
from nas.adapters.sql.models import Base
from nas.data.storage import atomic_file
from nas.errors import MissingDependencyError, SchemaError, SpecError, StateError, StorageError

KEPT_COPIES = 3
"""How many copies made before a change of the schema are kept beside an SQLite file; the oldest go."""

RESTORE = "restore a backup"
DUMP = ("pg_dump", "--format=custom")

log = logging.getLogger(__name__)


# --- looking ---


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table and its rows; ``bytes`` with its indices, ``None`` where the database cannot tell."""

    name: str
    ours: bool
    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Condition:
    """What was found of a database.

    Attributes:
        place: its address without the password.
        file: of SQLite.
        bytes: of all of it.
        tables: ours first; none where the damage does not let them be counted.
        problems: what is wrong, each with what to do about it.
    """

    place: str
    file: Path | None
    versions: schema.Versions
    bytes: int
    tables: tuple[TableSize, ...]
    problems: tuple[str, ...]


def examine(url: str) -> Condition:
    """Look at all of a database; changes nothing, and brings no schema up to date.

    Raises:
        SchemaError: it is newer than this code, or holds no tables of ours.
        StorageError: there is none, or it cannot be read.
    """
    with _looked_at(url) as (connection, place):
        versions = schema.versions(connection, place)
        if not versions.found:
            schema.refuse_foreign_tables(connection, place)
            raise SchemaError(f"database {place}: it holds no tables of nas: `nas db upgrade` makes them")
        file = _file(connection)
        damage = [] if file is None else _damage(connection)
        if damage:
            problems = [f"it is damaged, {damage[0]}{_more(damage)}: {RESTORE}"]
        else:
            problems = [*_missing(connection, versions), *([] if file is None else _orphans(connection))]
        tables = () if damage else tuple(_tables(connection))
        return Condition(place, file, versions, _bytes(connection, file), tables, tuple(problems))


def _damage(connection: Connection) -> list[str]:
    """What SQLite finds wrong with a file, at most 20 things."""
    try:
        found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
    except DatabaseError as error:
        if getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return [str(error.orig)]
        raise
    lines = [line.strip() for text in found for line in str(text).splitlines() if not line.startswith("***")]
    return [line for line in lines if line != "ok"]


def _more(found: Sequence[str]) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def _missing(connection: Connection, versions: schema.Versions) -> Iterator[str]:
    """Of an older schema we do not know which tables it had."""
    lost = sorted(Base.metadata.tables.keys() - set(inspect(connection).get_table_names()))
    if lost and versions.current:
        yield f"it lacks the tables {', '.join(lost)}: {RESTORE}"


def _orphans(connection: Connection) -> Iterator[str]:
    """Rows of ours that belong to nothing; PostgreSQL cannot have them."""
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    counts: dict[tuple[str, str], int] = {}
    for name, _, parent, _ in rows:
        if schema.is_ours(name):
            counts[name, parent] = counts.get((name, parent), 0) + 1
    for (name, parent), count in sorted(counts.items()):
        yield f"{count} row{'s' * (count != 1)} of {name} without {parent}: {RESTORE}"


def _tables(connection: Connection) -> list[TableSize]:
    sizes = _table_bytes(connection)
    names = sorted(inspect(connection).get_table_names(), key=lambda name: (not _of_nas(name), name))
    return [TableSize(name, _of_nas(name), _rows(connection, name), sizes.get(name)) for name in names]


def _of_nas(name: str) -> bool:
    return schema.is_ours(name) or name == schema.VERSION_TABLE


def _rows(connection: Connection, name: str) -> int:
    return connection.execute(select(func.count()).select_from(table(name))).scalar_one()


def _table_bytes(connection: Connection) -> Mapping[str, int]:
    if connection.dialect.name == "postgresql":
        statement = (
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema())"
        )
    elif connection.exec_driver_sql("SELECT sqlite_compileoption_used('ENABLE_DBSTAT_VTAB')").scalar_one():
        statement = (
            "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name)"
            " WHERE aggregate = 1 GROUP BY tbl_name"
        )
    else:
        return {}
    return {str(name): int(size) for name, size in connection.exec_driver_sql(statement)}


def _bytes(connection: Connection, file: Path | None) -> int:
    if file is not None:
        log_file = Path(f"{file}-wal")
        return file.stat().st_size + (log_file.stat().st_size if log_file.exists() else 0)
    return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


# --- bringing up to date ---


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade has found and done. ``copy``: of the database before it, where one was made."""

    place: str
    versions: schema.Versions
    copy: Path | None


def upgrade(url: str, *, backup: bool) -> Upgrade:
    """Bring a database to the newest schema, after a copy of an SQLite file unless ``backup`` is false.

    Raises:
        StateError: a backup of an older PostgreSQL database, which is the work of its own tools.
        SchemaError: it is newer than this code, or holds foreign tables of the same names.
        StorageError: it, or the place of the copy, refuses; nothing was changed.
    """
    place = redacted_url(url)
    copies: list[Path] = []

    def before(connection: Connection, place: str, found: str) -> None:
        file = _file(connection)
        if file is not None:
            copies.append(_copy_beside(file, place, found))
        elif connection.dialect.name == "postgresql":
            raise StateError(
                f"database {place}: make a backup first, e.g. with: {dump_command(url, Path('nas.dump'))}; "
                "then: nas db upgrade --no-backup"
            )

    with refusals(place):
        engine = create(url)
        try:
            seen = schema.upgrade(engine, place, before if backup else None)
        finally:
            engine.dispose()
    return Upgrade(place, seen, copies[0] if copies else None)


def copy_searches(connection: Connection, place: str, found: str) -> None:
    """`schema.Before`: an older SQLite file that holds searches is copied. A server's dump is its own tools' work."""
    file = _file(connection)
    if file is None or _rows(connection, "searches") == 0:
        return
    copy = _copy_beside(file, place, found)
    log.warning("database %s: brought up to date from schema %s; as it was: %s", place, found, copy)


def _copy_beside(file: Path, place: str, found: str) -> Path:
    """Copy an SQLite file beside itself, named with its time and schema. Who calls it holds the lock of the writers:
    the copy is what the upgrade begins with."""
    copy = file.with_name(f"{file.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.schema-{found}.backup")
    try:
        with _reading(file, place) as source:
            _copy(source, copy, place)
    except StorageError as error:
        raise type(error)(f"{error}; nothing was changed; `nas db upgrade --no-backup` makes no copy") from error
    named = re.compile(re.escape(file.name) + r"\.\d{8}T\d{6}Z\.schema-\w+\.backup")
    copies = sorted(own for own in file.parent.iterdir() if named.fullmatch(own.name))
    for old in copies[:-KEPT_COPIES]:
        with suppress(OSError):  # it only takes space
            old.unlink()
    return copy


# --- backups ---


def back_up(url: str, to: Path, *, force: bool = False) -> int:
    """Write a copy of a database as of one moment, while others go on writing; returns its bytes.

    The file is there whole or not at all: of SQLite a database that was checked, of PostgreSQL a dump in its custom
    format, made by ``pg_dump``. The schema is looked at by neither: a newer one is copied too.

    Args:
        force: replace an existing file.

    Raises:
        SpecError: the file is the database itself.
        StateError: the file exists already, or belongs to a database in use.
        MissingDependencyError: there is no ``pg_dump``.
        StorageError: the database or the file refuses, or the database is damaged.
    """
    to = to.absolute()
    if to.exists() and not force:
        raise StateError(f"{to} exists already: name another file, or replace it with --force")
    if make_url(sqlalchemy_url(url)).get_backend_name() == "postgresql":
        _dump(url, to)
    else:
        with _looked_at(url) as (connection, place):
            _require_apart(to, cast(Path, _file(connection)))
            _copy(connection, to, place)
    return to.stat().st_size


def dump_command(url: str, to: Path) -> str:
    """What to type for a dump; without the password, for which it will ask."""
    return shlex.join([*DUMP, f"--file={to}", f"--dbname={_server(url)[0]}"])


def _require_apart(to: Path, file: Path) -> None:
    if to.exists() and to.samefile(file):
        raise SpecError("FILE", "must not be the database itself", str(to))
    # Left beside another file, SQLite would take the log for its own, and ruin the copy with it.
    for beside in (Path(f"{to}{end}") for end in ("-wal", "-journal")):
        if beside.exists():
            raise StateError(f"{to} is or was a database in use, {beside.name} lies beside it: name another file")


def _copy(source: Connection, to: Path, place: str) -> None:
    """Copy an SQLite database by its online backup, and check the copy.

    Raises:
        StorageError: the target refuses, or the source is damaged.
    """
    file = cast(Path, _file(source))
    # The copy is of the state from here on; without this a writer could hold it up without end where there is no WAL.
    source.exec_driver_sql("BEGIN")
    source.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    with atomic_file(to) as made:
        shutil.copymode(file, made.name)
        with _reading(Path(made.name), str(to), write=True) as copy:
            with _errors_of_driver():
                _driver(source).backup(_driver(copy))
            copy.exec_driver_sql("PRAGMA journal_mode = DELETE")  # can be read where no log can be written beside it
            damage = _damage(copy)
        if damage:
            raise StorageError(
                f"database {place}: it is damaged, {damage[0]}{_more(damage)}, and its copy would be: {RESTORE}"
            )


def _dump(url: str, to: Path) -> None:
    program = shutil.which(DUMP[0])
    if program is None:
        raise MissingDependencyError(
            f"{DUMP[0]} is not on the PATH: install PostgreSQL's client, or type where it is: {dump_command(url, to)}"
        )
    server, password = _server(url)
    secret = {"PGPASSWORD": password} if password else {}
    with atomic_file(to) as made:
        Path(made.name).chmod(0o600)  # what a login protects is not to be read by everybody here
        done = subprocess.run(
            [program, *DUMP[1:], "--no-password", f"--file={made.name}", f"--dbname={server}"],
            env={**os.environ, **secret},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.split())
            raise StorageError(f"database {redacted_url(url)}: {DUMP[0]} refuses, exit code {done.returncode}: {said}")


def _server(url: str) -> tuple[str, str]:
    """What libpq connects with, as the store does, and the password, which every process of a machine could see."""
    from psycopg.conninfo import make_conninfo

    engine = create(url)
    options = engine.dialect.create_connect_args(engine.url)[1]
    # Beside what is for libpq, SQLAlchemy hands over objects for psycopg.
    shown: dict[str, Any] = {
        name: own for name, own in options.items() if isinstance(own, str | int) and not is_secret(name)
    }
    return make_conninfo(**shown), str(options.get("password", ""))


# --- connections ---


@contextmanager
def _looked_at(url: str) -> Iterator[tuple[Connection, str]]:
    """A connection that reads, and the database's name for messages. Unlike the store's it makes no file."""
    place = redacted_url(url)
    address = make_url(sqlalchemy_url(url))
    if address.get_backend_name() == "sqlite":
        file = Path(address.database or ":memory:")
        if not file.is_file():
            raise StorageError(f"database {place}: there is no such file: name another with NAS_DATABASE or NAS_HOME")
        with _reading(file, place) as connection:
            yield connection, place
        return
    with refusals(place):
        engine = create(url)
        with _connected(engine, postgresql_readonly=True) as connection:
            yield connection, place


@contextmanager
def _reading(file: Path, place: str, *, write: bool = False) -> Iterator[Connection]:
    """A connection to an SQLite file that is there."""

    def connect() -> sqlite3.Connection:
        # Not "ro": what another process left in the log or the journal when it died could not be read.
        return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_SECONDS)

    with refusals(place):
        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
        with _connected(engine) as connection:
            if not write:
                connection.exec_driver_sql("PRAGMA query_only = ON")
            yield connection


@contextmanager
def _connected(engine: Engine, **options: Any) -> Iterator[Connection]:
    try:
        with engine.connect().execution_options(**options) as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _errors_of_driver() -> Iterator[None]:
    """As SQLAlchemy raises them, for `refusals`."""
    try:
        yield
    except sqlite3.Error as error:
        raise OperationalError("backup", None, error) from error


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)


def _file(connection: Connection) -> Path | None:
    """Of an SQLite database, unless it is in memory."""
    if connection.dialect.name != "sqlite":
        return None
    name = connection.exec_driver_sql("SELECT file FROM pragma_database_list WHERE name = 'main'").scalar_one()
    return Path(name) if name else None
