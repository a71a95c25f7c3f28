"""Two environments whose names are being exchanged: one operation, of the one, that keeps the other busy, too.

The other has no operation of its own meanwhile: that it is `Updating` keeps everybody else away, and `let_go` ends that
in the transaction that closes the operation, however it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from beanpole.store import environments
from beanpole.store.schema import is_open, operation

if TYPE_CHECKING:
    from beanpole.store.environments import Environment
    from beanpole.store.operations import Operation

KIND = "swap"
"""Of such operations."""


def other_of(held: Operation) -> str | None:
    """The id of the other environment; None for an operation that concerns one alone."""
    return _other(held.plan) if held.kind == KIND else None


def open_pairs(db: sa.Connection) -> dict[str, str]:
    """Ids of environments whose names are just being exchanged: each of the two leads to the other."""
    query = sa.select(operation.c.environment_id, operation.c.plan)
    found: dict[str, str] = {}
    for one, plan in db.execute(query.where(operation.c.kind == KIND, is_open)):
        if (other := _other(plan)) is not None:
            found |= {one: other, other: one}
    return found


def let_go(db: sa.Connection, now: int, held: Operation) -> Environment | None:
    """The other environment is free again, unless it is being terminated; it, as it is then."""
    other = other_of(held)
    found = environments.find(db, other) if other is not None else None
    if found is None or found.status != "Updating":
        return found
    environments.update(db, found.id, status="Ready", updated_at=now)
    return environments.find(db, found.id)


def _other(plan: str) -> str | None:
    """Read without knowing the kinds of steps: also a plan that a newer Beanpole wrote must let the other one go."""
    steps = msgspec.json.decode(plan)["steps"]
    return next((str(step["other"]) for step in steps if "other" in step), None)
