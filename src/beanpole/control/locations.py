"""Where the instances of new environments live, and whether there is a place for as many as are asked for.

The location of an environment is decided when it is created and never changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from beanpole.control import errors
from beanpole.fleet.machine import memory_available
from beanpole.operations import placing
from beanpole.operations.placing import LOCAL, LOCATION, SSH
from beanpole.policies import placement
from beanpole.policies.placement import NoPlace
from beanpole.store import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from beanpole.control.context import Control
    from beanpole.options.settings import Settings
    from beanpole.policies.plan import Launch

Location = Literal["local", "ssh"]

UNKNOWN = 1000
"""Instances for which there is room on a machine that does not say how much memory it has."""

_DEFAULT = "location"
"""The fact's name."""


def default(db: sa.Connection) -> str:
    """Of environments that are created and say nothing of it; "local" until something else was decided."""
    return facts.find(db, _DEFAULT) or LOCAL


def is_decided(db: sa.Connection) -> bool:
    return facts.find(db, _DEFAULT) is not None


def set_default(db: sa.Connection, location: str) -> None:
    """Raises the API's error for what is no location."""
    if location not in (LOCAL, SSH):
        raise errors.invalid(f"'{location}' is no location: it is {LOCAL} or {SSH}.")
    facts.put(db, _DEFAULT, location)


def chosen(control: Control, settings: Settings) -> str:
    """Of a new environment: what somebody set, else the default of this control plane."""
    if LOCATION in settings.chosen:
        return settings.text(*LOCATION)
    with control.database.read() as db:
        return default(db)


def refuse_move(name: str, now: str, settings: Settings) -> None:
    """Raises the API's error for settings under which the environment would live elsewhere."""
    wanted = settings.text(*LOCATION)
    if wanted != now:
        raise errors.invalid(
            f"Environment named {name} has the location {now}, which cannot be changed to {wanted}. "
            "Create another environment."
        )


def room(db: sa.Connection, environment_id: str, settings: Settings, resident: int) -> int:
    """How many instances more than now the environment can have for a while.

    `resident`: bytes that its application takes on an instance of this machine; 0: not known.
    """
    if settings.text(*LOCATION) == SSH:
        labels = placement.labels_of(settings.text(placing.FLEET, "Labels"))
        return placement.room(placing.known(db), environment_id, labels)
    available = memory_available()
    return UNKNOWN if available is None else max(available // placement.memory_of(resident), 0)


def moves(db: sa.Connection, environment_id: str, settings: Settings) -> bool:
    """Whether an instance lives on a server that does not have the labels of the settings."""
    labels = set(placement.labels_of(settings.text(placing.FLEET, "Labels")))
    return any(environment_id in host.environments and not labels <= set(host.labels) for host in placing.known(db))


def refuse_crowd(db: sa.Connection, environment_id: str, settings: Settings, goal: int) -> None:
    """Raises the API's error when the servers cannot take `goal` instances of the environment, '' for a new one."""
    if settings.text(*LOCATION) != SSH:
        return
    there = sum(environment_id in host.environments for host in placing.known(db)) if environment_id else 0
    if goal <= there:
        return
    try:
        placing.place(db, environment_id, settings, goal - there, goal)
    except NoPlace as none:
        raise errors.invalid(f"{none.cause} {none.remedy}") from none


def refuse_narrow(db: sa.Connection, environment_id: str, settings: Settings, launches: Sequence[Launch]) -> None:
    """Raises the API's error when the servers cannot take the instances of these steps beside the present ones."""
    if settings.text(*LOCATION) != SSH:
        return
    number = sum(len(step.slots) for step in launches)
    try:
        placing.place(db, environment_id, settings, number, number, launches[0].beside)
    except NoPlace as none:
        raise errors.invalid(f"{none.cause} {none.remedy}") from none
