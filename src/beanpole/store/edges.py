"""Which balancers stand in front: the one that names lead to, and those beside it, where requests may still come.

Until something else is decided, there is the one on the control plane's machine.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from beanpole.store import facts

_NAME = "edges"
"""The fact's name."""


class Edge(msgspec.Struct, frozen=True):
    """`host`: id of a server, with the port there and the domain below which environments have their names. None: this
    machine, with those that the control plane was started with."""

    host: str | None = None
    port: int = 0
    domain: str = ""


HERE = Edge()


def listed(db: sa.Connection) -> tuple[Edge, ...]:
    """Names lead to the first; there is always one."""
    found = facts.find(db, _NAME)
    return msgspec.json.decode(found, type=tuple[Edge, ...]) if found is not None else (HERE,)


def put(db: sa.Connection, edges: tuple[Edge, ...]) -> None:
    facts.put(db, _NAME, msgspec.json.encode(edges).decode())


def add(db: sa.Connection, new: Edge) -> None:
    """It stands beside the others from now on."""
    put(db, (*(each for each in listed(db) if each != new), new))


def lead_to(db: sa.Connection, chosen: Edge) -> None:
    """Names lead there from now on."""
    put(db, (chosen, *(each for each in listed(db) if each != chosen)))


def remove(db: sa.Connection, host: str | None) -> None:
    """Nothing stands there any more; the one that names lead to stays in any case."""
    leading, *others = listed(db)
    put(db, (leading, *(each for each in others if each.host != host)))
