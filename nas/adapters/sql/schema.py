"""The schema's versions: a database is brought up to date when it is opened, and never taken back.

The tables may live beside those of others (Optuna's storage): only ours are looked at, and their version is kept
in a table of our own.
"""

import threading

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


def upgrade(engine: Engine, place: str) -> None:
    """Create or update the tables; of several processes one does it and the others wait.

    Raises:
        SchemaError: the database is newer than this code, or holds foreign tables of the same names.
    """
    with _one_at_a_time:
        with engine.connect() as connection:
            if _is_current(connection, place):
                return
        with engine.connect().execution_options(**WRITE) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            if not _is_current(connection, place):
                _refuse_foreign_tables(connection, place)
                command.upgrade(migrations(connection), "head")


def migrations(connection: Connection) -> Config:
    """Alembic's configuration for this schema on a connection, for its commands (upgrade, check, revision)."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "nas.adapters.sql:migrations")
    config.set_main_option("path_separator", "os")
    return config


def is_ours(name: str | None) -> bool:
    """Whether a table belongs to this schema."""
    return name in Base.metadata.tables


def _is_current(connection: Connection, place: str) -> bool:
    scripts = ScriptDirectory.from_config(migrations(connection))
    known = {script.revision for script in scripts.walk_revisions()}
    found = set(_version(connection))
    if not found <= known:
        raise SchemaError(
            f"database {place}: its schema {', '.join(sorted(found - known))} is newer than this version of nas, "
            f"which knows up to {scripts.get_current_head()}: upgrade nas, or use another database"
        )
    return found == set(scripts.get_heads())


def _version(connection: Connection) -> tuple[str, ...]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_heads()


def _refuse_foreign_tables(connection: Connection, place: str) -> None:
    """Tables of our names without our version are not ours. To be asked under the lock: else another process may
    have created them since."""
    foreign = sorted(filter(is_ours, inspect(connection).get_table_names()))
    if foreign and not _version(connection):
        raise SchemaError(
            f"database {place}: it holds tables of another program ({', '.join(foreign)}): use another database"
        )
