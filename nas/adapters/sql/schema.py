"""The schema's versions: a database is brought up to date when it is opened, and never taken back.

The tables may live beside those of others (Optuna's storage): only ours are looked at, and their version is kept
in a table of our own.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from nas.adapters.sql.engine import WRITE
from nas.adapters.sql.models import Base
from nas.errors import SchemaError

VERSION_TABLE = "nas_schema_version"

_UPGRADE_LOCK = 0x6E6173  # of PostgreSQL's advisory locks, which are numbers: "nas"
_one_at_a_time = threading.Lock()  # Alembic keeps its state in module globals


Before = Callable[[Connection, str, str], object]
"""Called before the tables of an older database are changed, under the lock, with its name and version; what it
raises leaves the database as it is."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the schema: ``found`` in the database, empty where it has none of our tables, and the newest, ``wanted``."""

    found: str
    wanted: str

    @property
    def current(self) -> bool:
        return self.found == self.wanted


def upgrade(engine: Engine, place: str, before: Before | None = None) -> Versions:
    """Create or update the tables; of several processes one does it and the others wait. Returns what was found.

    Raises:
        SchemaError: the database is newer than this code, or holds foreign tables of the same names.
    """
    with _one_at_a_time:
        with engine.connect() as connection:
            if (seen := versions(connection, place)).current:
                return seen
        with engine.connect().execution_options(**WRITE) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            seen = versions(connection, place)
            if not seen.current:
                refuse_foreign_tables(connection, place)
                if seen.found and before is not None:
                    before(connection, place, seen.found)
                command.upgrade(migrations(connection), "head")
            return seen


def versions(connection: Connection, place: str) -> Versions:
    """Which schema the database has; changes nothing.

    Raises:
        SchemaError: one that this code does not know, so a newer one.
    """
    scripts = ScriptDirectory.from_config(migrations(connection))
    known = {script.revision for script in scripts.walk_revisions()}
    found = _version(connection)
    if not set(found) <= known:
        raise SchemaError(
            f"database {place}: its schema {', '.join(sorted(set(found) - known))} is newer than this version of nas, "
            f"which knows up to {scripts.get_current_head()}: upgrade nas, or use another database"
        )
    return Versions(", ".join(sorted(found)), ", ".join(sorted(scripts.get_heads())))


def migrations(connection: Connection) -> Config:
    """Alembic's configuration for this schema on a connection, for its commands (upgrade, check, revision)."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "nas.adapters.sql:migrations")
    config.set_main_option("path_separator", "os")
    return config


def is_ours(name: str | None) -> bool:
    """Whether a table belongs to this schema."""
    return name in Base.metadata.tables


def _version(connection: Connection) -> tuple[str, ...]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_heads()


def refuse_foreign_tables(connection: Connection, place: str) -> None:
    """Tables of our names without our version are not ours. To be asked under the lock: else another process may
    have created them since."""
    foreign = sorted(filter(is_ours, inspect(connection).get_table_names()))
    if foreign and not _version(connection):
        raise SchemaError(
            f"database {place}: it holds tables of another program ({', '.join(foreign)}): use another database"
        )
