"""TrafficSplitting: as many new instances as there are to be, a part of the requests for a time, then all of them.

The new release is judged meanwhile by what the requests that it gets meet (see canary.py). A present instance is never
touched before it is retired, so an end before that is one change of shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.policies.deployment import (
    arrive,
    count,
    finish,
    launch,
    new_slots,
    on_new,
    prove,
    retire,
    shift,
    slots_of,
)
from beanpole.policies.plan import AnyStep, Plan, Watch

if TYPE_CHECKING:
    from beanpole.policies.change import Member, Rules, Target

NAME = "TrafficSplitting"


def plan(members: tuple[Member, ...], target: Target, rules: Rules, desired: int) -> Plan:
    """`desired`: how many instances there are to be at the end."""
    new, old, target = new_slots(desired), slots_of(members), on_new(target)
    watched = f"Judge the new release by its requests for {_time(rules.evaluation)}"
    steps: list[AnyStep] = [
        launch(new, old),
        *arrive(new, target),
        *prove(1, 1, new, target, waits=True),
        shift(new, rules.percent, "shift-part"),
        Watch(key="watch", slots=new[:1], to=new, seconds=rules.evaluation, words=watched),
        finish("finish", 1, new, target, count(new)),
        shift(new, 100),
        *retire(old),
    ]
    return Plan(policy=NAME, steps=tuple(steps))


def _time(seconds: float) -> str:
    if seconds < 60 or seconds % 60:
        return "1 second" if seconds == 1 else f"{seconds:.0f} seconds"
    return "1 minute" if seconds == 60 else f"{seconds / 60:.0f} minutes"
