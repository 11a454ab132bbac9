"""What workers logged during attempts; candidates by their loss."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_candidates_search_id_val_bpb", "candidates", ["search_id", "val_bpb", "number"])
    op.create_table(
        "log_lines",
        sa.Column("search_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("logger", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", "number", "sequence", name="pk_log_lines"),
        sa.ForeignKeyConstraint(
            ["search_id", "number"],
            ["candidates.search_id", "candidates.number"],
            ondelete="CASCADE",
            name="fk_log_lines_candidates",
        ),
    )
