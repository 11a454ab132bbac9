"""What further search is expected to bring."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("searches", sa.Column("prospects", sa.JSON()))
