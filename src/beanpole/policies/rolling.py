"""Rolling: batch after batch, the rest of the fleet on the old release meanwhile."""

from __future__ import annotations

from beanpole.policies.change import Member, Rules, Target, batches, split
from beanpole.policies.deployment import arrive, notes_of, replace, slots_of, stop_first_notes
from beanpole.policies.plan import Plan


def plan(members: tuple[Member, ...], target: Target, rules: Rules) -> Plan:
    reached, behind = split(members, target)
    groups = batches(reached, rules)
    notes, downtime = stop_first_notes(target, len(groups) > 1)
    steps = [*arrive(slots_of(reached), target), *replace(groups, target, slots_of(behind))]
    return Plan(policy="Rolling", steps=tuple(steps), notes=notes + notes_of(behind), downtime=downtime)
