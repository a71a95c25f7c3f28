"""Which environments an environment depends on: the links of a composed group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from beanpole.store import rows
from beanpole.store.schema import environment, link

if TYPE_CHECKING:
    from collections.abc import Mapping


class Link(msgspec.Struct, frozen=True):
    environment_id: str
    name: str
    """The environment property that has the address of the other."""
    target: str
    """The other's name."""


def put(db: sa.Connection, environment_id: str, links: Mapping[str, str]) -> None:
    """Replace the links of an environment: property to name."""
    db.execute(link.delete().where(link.c.environment_id == environment_id))
    if links:
        new = [{"environment_id": environment_id, "name": name, "target": target} for name, target in links.items()]
        db.execute(link.insert(), new)


def of(db: sa.Connection, environment_id: str) -> list[Link]:
    query = sa.select(link).where(link.c.environment_id == environment_id).order_by(link.c.name)
    return rows.every(db, query, Link)


def every(db: sa.Connection) -> dict[str, list[Link]]:
    """Of all environments, by their ids."""
    found: dict[str, list[Link]] = {}
    for each in rows.every(db, sa.select(link).order_by(link.c.name), Link):
        found.setdefault(each.environment_id, []).append(each)
    return found


def dependents(db: sa.Connection, target: str) -> list[str]:
    """Names of the live environments that are linked to the one of that name, sorted."""
    query = (
        sa.select(environment.c.name)
        .join(link, link.c.environment_id == environment.c.id)
        .where(link.c.target == target, environment.c.terminated_at.is_(None))
        .distinct()
        .order_by(environment.c.name)
    )
    return list(db.execute(query).scalars())
