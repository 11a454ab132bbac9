"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Exact beyond 64 bits, where SQLite has decimal text only (`nas.adapters.sql.columns.ExactInteger`).
EXACT = sa.Numeric(38, 0).with_variant(sa.Text(), "sqlite")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("setting", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
    )
    op.create_index("ix_searches_created_at", "searches", ["created_at"])
    op.create_table(
        "candidates",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("candidate", sa.JSON(), nullable=False),
        sa.Column("knobs", sa.JSON(), nullable=False),
        sa.Column("costs", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("val_bpb", sa.Double()),
        sa.Column("val_error", sa.Double()),
        sa.Column("test_bpb", sa.Double()),
        sa.Column("test_error", sa.Double()),
        sa.Column("train_flops_planned", EXACT, nullable=False),
        sa.Column("train_flops_spent", EXACT, nullable=False),
        sa.Column("hardware_flops", EXACT, nullable=False),
        sa.Column("eval_flops", EXACT, nullable=False),
        sa.Column("repeated_flops", EXACT, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("time_bound", sa.Boolean(), nullable=False),
        sa.Column("artifact", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.PrimaryKeyConstraint("search_id", "number", name="pk_candidates"),
        _of_search("candidates"),
    )
    op.create_table(
        "attempts",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("finished_at", sa.Double()),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", "number", "attempt", name="pk_attempts"),
        _of_candidate("attempts"),
    )
    op.create_table(
        "curve_points",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("flops", EXACT, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("train_bpb", sa.Double()),
        sa.Column("val_bpb", sa.Double()),
        sa.Column("rung", sa.Double()),
        sa.PrimaryKeyConstraint("search_id", "number", "step", "final", name="pk_curve_points"),
        _of_candidate("curve_points"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", SERIAL, nullable=False, autoincrement=True),
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("rung", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        _of_candidate("decisions"),
    )
    op.create_index("ix_decisions_search_id_number", "decisions", ["search_id", "number"])
    op.create_table(
        "ledger",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger()),
        sa.Column("flops", EXACT, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", "sequence", name="pk_ledger"),
        _of_search("ledger"),
    )
    op.create_table(
        "events",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger()),
        sa.Column("level", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", "sequence", name="pk_events"),
        _of_search("events"),
    )
    op.create_table(
        "device_profiles",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("profile", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_device_profiles"),
    )


def _of_search(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["search_id"], ["searches.id"], ondelete="CASCADE", name=f"fk_{table}_searches")


def _of_candidate(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["search_id", "number"],
        ["candidates.search_id", "candidates.number"],
        ondelete="CASCADE",
        name=f"fk_{table}_candidates",
    )
