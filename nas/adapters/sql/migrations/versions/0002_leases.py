"""Leases and requests; which steps an attempt took, and what a curve point's evaluation has cost."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Exact beyond 64 bits, where SQLite has decimal text only (`nas.adapters.sql.columns.ExactInteger`).
EXACT = sa.Numeric(38, 0).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("attempts", _zero("first_step", sa.BigInteger()))
    op.add_column("attempts", _zero("last_step", sa.BigInteger()))
    op.add_column("curve_points", _zero("eval_flops", EXACT))
    op.add_column("curve_points", _zero("first_step", sa.BigInteger()))
    op.create_table(
        "leases",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", name="pk_leases"),
        _of_search("leases"),
    )
    op.create_table(
        "requests",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("answered_at", sa.Double()),
        sa.Column("answer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", "sequence", name="pk_requests"),
        _of_search("requests"),
    )


def _zero(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    """A column that is 0 in the rows there are."""
    return sa.Column(name, kind, nullable=False, server_default="0")


def _of_search(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["search_id"], ["searches.id"], ondelete="CASCADE", name=f"fk_{table}_searches")
