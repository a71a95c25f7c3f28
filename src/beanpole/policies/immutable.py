"""Immutable: new instances beside the present ones, one of them first; when all are proven, the present ones leave.

Until then no request meets the new release, and from then on none meets the old one: there is one moment at which all
go over, and back again if the smoke tests through the balancer fail. A present instance is never touched before it is
retired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.policies.deployment import (
    arrive,
    count,
    finish,
    launch,
    new_slots,
    on_new,
    prefixed,
    prove,
    retire,
    shift,
    slots_of,
)
from beanpole.policies.plan import AnyStep, Plan

if TYPE_CHECKING:
    from beanpole.policies.change import Member, Rules, Target

NAME = "Immutable"
TEST = "launch-test"
"""Key of the step that launches the first one."""


def plan(members: tuple[Member, ...], target: Target, _rules: Rules, desired: int) -> Plan:
    """`desired`: how many instances there are to be at the end."""
    new, old, target = new_slots(desired), slots_of(members), on_new(target)
    test, rest = new[:1], new[1:]
    of = 2 if rest else 1
    steps: list[AnyStep] = [
        launch(test, old, TEST),
        *arrive(test, target),
        *prove(1, of, test, target, waits=True),
    ]
    if rest:
        again = msgspec.structs.replace(target, once=False)
        steps += [launch(rest, old), *prefixed("rest", arrive(rest, again)), *prove(2, of, rest, again, waits=True)]
    steps += [
        finish("finish", of, new, target, count(new)),
        shift(new, 100),
        *retire(old),
    ]
    return Plan(policy=NAME, steps=tuple(steps))
