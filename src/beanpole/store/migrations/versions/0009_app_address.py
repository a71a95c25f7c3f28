"""A server's proxy may take requests on one address alone: that of the service that it was adopted from."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("host", sa.Column("app_address", sa.Text(), nullable=True))
