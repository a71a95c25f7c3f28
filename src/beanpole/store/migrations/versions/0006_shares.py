"""What share of the requests an endpoint gets, and how far an operation that replaces instances has been decided."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("endpoint", sa.Column("weight", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("endpoint", sa.Column("pin", sa.Text(), nullable=True))
    op.add_column("operation", sa.Column("committed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("operation", sa.Column("promoted", sa.Boolean(), nullable=False, server_default=sa.false()))
