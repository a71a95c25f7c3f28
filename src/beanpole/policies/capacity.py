"""Changing the number of instances: new ones come with a release, surplus ones leave without losing a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.policies.deployment import Slots, arrive, batch, count, new_slots, prefixed
from beanpole.policies.plan import AnyStep, Launch, Leave, Terminate

if TYPE_CHECKING:
    from beanpole.policies.change import Member, Target


def grow(number: int, target: Target | None, first: int = 1) -> list[AnyStep]:
    """Launch `number` instances and bring the release to them, if there is one. `first` numbers the slots."""
    slots = new_slots(number, first)
    steps: list[AnyStep] = [Launch(key="launch", slots=slots, words=f"Launch {count(slots)}")]
    if target is not None:
        steps += prefixed("join", [*arrive(slots, target), *batch(1, 1, slots, target)])
    return steps


def shrink(members: tuple[Member, ...], number: int) -> list[AnyStep]:
    """Remove `number` instances: first those that cannot be reached, then those that serve nothing, then the newest.

    `members` are oldest first.
    """
    order = sorted(range(len(members)), key=lambda at: (members[at].reachable, members[at].digest is not None, -at))
    return remove(tuple(members[at].id for at in order[:number]))


def remove(slots: Slots) -> list[AnyStep]:
    return [
        Leave(key="leave", slots=slots, words=f"Take {count(slots)} out of rotation and let the requests end"),
        Terminate(key="terminate", slots=slots, words=f"Remove {count(slots)}"),
    ]
