"""What is remembered of an operation for longer than its journal: see operations/account.py."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("operation", sa.Column("account", sa.Text(), nullable=True))
