"""Which versions of an application are kept, which environments are linked, and the platform version of each."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("application", sa.Column("lifecycle", sa.Text(), nullable=True))
    op.add_column("environment", sa.Column("platform_version", sa.Text(), nullable=False, server_default="4.1.0"))
    op.create_table(
        "link",
        sa.Column("environment_id", sa.Text(), sa.ForeignKey("environment.id"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("target", sa.Text(), nullable=False),
    )
