"""A terminated environment remembers the name that led to it, for who restores it; and when one is to be terminated."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_index("environment_cname", "environment")
    live = sa.text("terminated_at IS NULL")
    op.create_index(
        "environment_cname", "environment", ["cname_prefix"], unique=True, sqlite_where=live, postgresql_where=live
    )
    op.add_column("environment", sa.Column("terminate_at", sa.BigInteger(), nullable=True))
