"""The steps from an empty database to the present schema, oldest first in `versions`.

A new step: change `nas.adapters.sql.models`, then
``alembic.command.revision(nas.adapters.sql.schema.migrations(connection), "what changes", autogenerate=True,
rev_id="0002")`` on a connection to an up-to-date database writes its draft. Steps go forward only.
"""
