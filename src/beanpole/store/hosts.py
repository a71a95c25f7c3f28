"""Servers that were added: how each is reached, which key it must show, and what it offers."""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa

from beanpole.store import rows
from beanpole.store.schema import host, instance


class Host(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """`h-` and 17 hexadecimal digits."""
    name: str
    """As people call it; no two have the same."""
    address: str
    """JSON, see fleet/servers/address.py."""
    host_key: str
    """The pinned one, `ssh-ed25519 AAAA…`."""
    app_port: int
    """Where its proxy takes requests."""
    labels: str
    """JSON list of words."""
    state: Literal["joining", "ready", "leaving"]
    python: str | None = None
    """Path of the interpreter there that runs the agent; None until it was prepared."""
    facts: str | None = None
    """JSON, what the last check saw; see fleet/servers/facts.py."""
    checked_at: int | None = None
    added_at: int


def find(db: sa.Connection, host_id: str) -> Host | None:
    return rows.first(db, sa.select(host).where(host.c.id == host_id), Host)


def named(db: sa.Connection, name: str) -> Host | None:
    return rows.first(db, sa.select(host).where(host.c.name == name), Host)


def listed(db: sa.Connection) -> list[Host]:
    """In the order in which they were added."""
    return rows.every(db, sa.select(host).order_by(host.c.added_at, host.c.id), Host)


def add(db: sa.Connection, new: Host) -> None:
    db.execute(host.insert().values(**msgspec.structs.asdict(new)))


def update(db: sa.Connection, host_id: str, **columns: object) -> None:
    db.execute(host.update().where(host.c.id == host_id).values(**columns))


def remove(db: sa.Connection, host_id: str) -> None:
    """The row alone: the caller knows that nothing lives there any more."""
    db.execute(host.delete().where(host.c.id == host_id))


def instances_on(db: sa.Connection, host_id: str) -> list[str]:
    """Ids of the instances that live there."""
    return list(db.execute(sa.select(instance.c.id).where(instance.c.host == host_id)).scalars())
