"""Logs that were asked for: the newest of each kind and instance."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from beanpole.store import rows
from beanpole.store.schema import environment_info


class Sample(msgspec.Struct, frozen=True):
    environment_id: str
    kind: str
    instance_id: str
    key: str
    """In the object store."""
    sampled_at: int


def put(db: sa.Connection, new: Sample) -> str | None:
    """Keep it instead of the one before, whose key is answered."""
    which = (
        environment_info.c.environment_id == new.environment_id,
        environment_info.c.kind == new.kind,
        environment_info.c.instance_id == new.instance_id,
    )
    older: str | None = db.execute(sa.select(environment_info.c.key).where(*which)).scalar()
    db.execute(environment_info.delete().where(*which))
    db.execute(environment_info.insert().values(**msgspec.structs.asdict(new)))
    return older


def listed(db: sa.Connection, environment_id: str, kind: str) -> list[Sample]:
    query = sa.select(environment_info).where(
        environment_info.c.environment_id == environment_id, environment_info.c.kind == kind
    )
    return rows.every(db, query.order_by(environment_info.c.instance_id), Sample)
