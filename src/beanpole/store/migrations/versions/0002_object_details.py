"""What clients said of their objects: headers, metadata, checksums."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table in ("object", "upload"):
        op.add_column(table, sa.Column("details", sa.Text(), nullable=False, server_default="{}"))
