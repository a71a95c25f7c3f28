"""Exchange the names of two environments: what users of one met is what users of the other meet from one moment on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.control import errors, submit
from beanpole.control.context import By, Control, the_environment
from beanpole.policies.plan import Plan, Swap
from beanpole.store import environments, operations, pairs

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.store.environments import Environment

LIMIT = 120
"""Seconds for a swap, which takes tenths of one: both environments are busy meanwhile."""


@dataclass(frozen=True)
class Called:
    """How a call names an environment: by its id, its name, or both."""

    id: str | None = None
    name: str | None = None


def swap(control: Control, by: By, source: Called, destination: Called) -> None:
    """Begin it. Raises the API's errors, and changes nothing when it does. The same call once more swaps back."""
    _refuse_mixed(source, destination)
    database = control.database
    with database.write() as db:
        one = the_environment(db, name=source.name, id_=source.id)
        other = the_environment(db, name=destination.name, id_=destination.id)
        _refuse(one, other)
        begin(db, control, by, one, other)
    control.wake()


def begin(db: sa.Connection, control: Control, by: By, one: Environment, other: Environment) -> int:
    """In the caller's transaction: from its end on nobody else may change either of the two."""
    now = control.database.now_ms()
    words = f"Exchange the names of {one.name} and {other.name}"
    steps = (Swap(key="swap", slots=(one.id,), other=other.id, words=words),)
    operation = submit.begin(
        db,
        control,
        by,
        one,
        Plan(policy="Swap", steps=steps),
        kind=pairs.KIND,
        release=one.release,
        desired=None,
        limit=LIMIT,
        words=[
            ("swapEnvironmentCNAMEs is starting.", "INFO"),
            (f"Swapping CNAMEs for environments '{one.name}' and '{other.name}'.", "INFO"),
        ],
    )
    operations.make_way(db, other.id)
    environments.update(db, other.id, status="Updating", updated_at=now)
    return operation


def _refuse_mixed(source: Called, destination: Called) -> None:
    for which, called in (("Source", source), ("Destination", destination)):
        if called.id is None and called.name is None:
            raise errors.missing(f"Either {which}EnvironmentId or {which}EnvironmentName must be specified.")
    if (source.id is None) != (destination.id is None):
        raise errors.combination("Name both environments by their ids, or both by their names.")


def _refuse(one: Environment, other: Environment) -> None:
    if one.id == other.id:
        raise errors.invalid(f"Environment named {one.name} cannot be swapped with itself.")
    for each in (one, other):
        if each.tier != "WebServer":
            raise errors.invalid(f"Environment named {each.name} is a worker: it has no CNAME to swap.")
    for each in (one, other):
        if each.status != "Ready":
            raise errors.not_ready(each.name)
