"""Tags of resources, by ARN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from beanpole.store.schema import tag

if TYPE_CHECKING:
    from collections.abc import Mapping


def add(db: sa.Connection, resource: str, tags: Mapping[str, str]) -> None:
    """Give a resource that is new these tags; what an earlier one of its name had is dropped."""
    db.execute(tag.delete().where(tag.c.resource == resource))
    if tags:
        db.execute(tag.insert(), [{"resource": resource, "key": key, "value": value} for key, value in tags.items()])


def listed(db: sa.Connection, resource: str) -> dict[str, str]:
    query = sa.select(tag.c.key, tag.c.value).where(tag.c.resource == resource).order_by(tag.c.key)
    return dict(db.execute(query).all())
