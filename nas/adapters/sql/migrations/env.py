"""Alembic's entry. `nas.adapters.sql.schema` hands in a connection with an open transaction; no ini file is read."""

from alembic import context

from nas.adapters.sql.models import Base
from nas.adapters.sql.schema import VERSION_TABLE, is_ours


def _include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Look at our own tables only: others may share the database."""
    return kind != "table" or is_ours(name)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_name=_include_name,
    render_as_batch=True,
    user_module_prefix="columns.",
)
context.run_migrations()
