"""Where a release's static files are served on its instance, and below which paths."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("endpoint", sa.Column("files_port", sa.Integer(), nullable=True))
    op.add_column("endpoint", sa.Column("files_paths", sa.Text(), nullable=True))
