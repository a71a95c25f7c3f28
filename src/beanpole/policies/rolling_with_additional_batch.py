"""RollingWithAdditionalBatch: a batch of new instances first, then the others in batches; as many leave at the end.

Those that leave, the oldest, are not brought the release before: they serve the old one until the end. So never fewer
instances serve than before, also where the release is stop-first, and nothing is prepared that is thrown away.
"""

from __future__ import annotations

import msgspec

from beanpole.policies.change import Member, Rules, Target, batches, split
from beanpole.policies.deployment import (
    arrive,
    batch,
    drain,
    exclude,
    launch,
    new_slots,
    notes_of,
    on_new,
    retire,
    shift,
    slots_of,
)
from beanpole.policies.plan import AnyStep, Plan

NAME = "RollingWithAdditionalBatch"


def plan(members: tuple[Member, ...], target: Target, rules: Rules, desired: int) -> Plan:
    """`desired`: how many instances there are to be at the end."""
    reached, silent = split(members, target)
    size = min(len(batches(reached, rules)[0]), desired)
    new = new_slots(size + max(desired - len(members), 0))
    surplus = len(members) + len(new) - desired
    # Whoever cannot be reached goes first, as when the number of instances is lowered.
    leaving = sorted(members, key=lambda member: member.reachable)[:surplus]
    leave = slots_of(leaving)
    rolled = tuple(member for member in reached if member not in leaving)
    behind = tuple(member for member in silent if member not in leaving)
    groups = batches(rolled, msgspec.structs.replace(rules, batch_size=size, batch_is_percentage=False))
    of = 1 + len(groups)
    everywhere = (*new, *slots_of(rolled))
    steps: list[AnyStep] = [
        launch(new, leave),
        *arrive(everywhere, target),
        *batch(1, of, new, on_new(target)),
        *(step for at, slots in enumerate(groups, 2) for step in batch(at, of, slots, target)),
        *exclude(slots_of(behind)),
        shift(everywhere, 100),
    ]
    if rolled:
        steps.append(drain(slots_of(rolled)))
    notes = notes_of(behind)
    if target.stop_first is not None and rolled:
        notes = (f"Stop-first: {target.stop_first}. The other instances serve meanwhile.", *notes)
    return Plan(policy=NAME, steps=(*steps, *retire(leave)), notes=notes)
