"""Servers that were added: how each is reached, which key it must show, and what it offers."""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa

from beanpole.store import facts, rows
from beanpole.store.schema import host, instance

_CATCH_ALL = "catch-all:"


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
    app_address: str | None = None
    """The IP address at which its proxy takes requests; None: every one."""


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
    """The caller knows that nothing lives there any more."""
    set_catch_all(db, host_id, None)
    db.execute(host.delete().where(host.c.id == host_id))


def instances_on(db: sa.Connection, host_id: str) -> list[str]:
    """Ids of the instances that live there."""
    return list(db.execute(sa.select(instance.c.id).where(instance.c.host == host_id)).scalars())


def catch_alls(db: sa.Connection) -> dict[str, str]:
    """By host, the environment that gets the requests there which name none, as it was written down last."""
    return facts.below(db, _CATCH_ALL)


def set_catch_all(db: sa.Connection, host_id: str, environment_id: str | None) -> None:
    if environment_id is None:
        facts.remove(db, _CATCH_ALL + host_id)
    else:
        facts.put(db, _CATCH_ALL + host_id, environment_id)


def exchange_catch_alls(db: sa.Connection, one: str, other: str) -> None:
    """Where one of these environments gets what names none, and the other is there, too, that one gets it."""
    partners = {one: other, other: one}
    for host_id, first in catch_alls(db).items():
        if (partner := partners.get(first)) is not None:
            there = sa.and_(instance.c.host == host_id, instance.c.environment_id == partner)
            if db.execute(sa.select(instance.c.id).where(there).limit(1)).scalar() is not None:
                set_catch_all(db, host_id, partner)
