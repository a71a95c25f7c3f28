"""Rebuild: other instances for all that there are, with the same release.

New ones first and as many at once as there is room for, so that nobody notices; where there is none, one after the
other makes way, and a single one is an outage that the plan speaks of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.policies import capacity
from beanpole.policies.plan import Plan
from beanpole.policies.smoke import with_smoke

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beanpole.policies.change import Member, Target
    from beanpole.policies.plan import AnyStep

OUTAGE = "There is no room for a second instance: requests fail until the new one answers."


def plan(members: tuple[Member, ...], count: int, target: Target, room: int, tests: Sequence[str] = ()) -> Plan:
    """`count`: how many instances there are to be. `room`: how many more there can be while the others are there.

    `tests` are smoke tests in words: new instances have to pass them before an old one leaves.
    """
    serving = [member for member in members if member.digest is not None]
    # Those that nobody misses leave first.
    order = sorted(members, key=lambda member: (member.digest is not None, member.reachable))
    old = [member.id for member in order]
    first = bool(serving) and room > 0
    size = min(room, count) if first else 1 if serving else count
    steps: list[AnyStep] = []
    for made in range(0, count, size):
        number = min(size, count - made)
        before = 0 if first else number if serving else len(old)
        after = number if first else 0
        if made + number == count:
            after = len(old)
        new = with_smoke(Plan(policy="Rebuild", steps=tuple(capacity.grow(number, target, made + 1))), tests).steps
        round_ = [*_leaving(old[:before], "before"), *new, *_leaving(old[before:][:after], "after")]
        steps += [_numbered(step, made + 1) for step in round_]
        old = old[before:][after:]
    outage = bool(serving) and not first and len(members) == 1
    return Plan(policy="Rebuild", steps=tuple(steps), notes=(OUTAGE,) if outage else (), downtime=outage)


def _leaving(slots: Sequence[str], when: str) -> list[AnyStep]:
    steps = capacity.remove(tuple(slots)) if slots else []
    return [msgspec.structs.replace(step, key=f"{step.key}-{when}") for step in steps]


def _numbered(step: AnyStep, first: int) -> AnyStep:
    return msgspec.structs.replace(step, key=f"{first}-{step.key}")
