"""Rolling: batch after batch, the rest of the fleet on the old release meanwhile."""

from __future__ import annotations

from beanpole.policies.change import Member, Rules, Target, batches
from beanpole.policies.deployment import arrive, replace, stop_first_notes
from beanpole.policies.plan import Plan


def plan(members: tuple[Member, ...], target: Target, rules: Rules) -> Plan:
    groups = batches(members, rules)
    notes, downtime = stop_first_notes(target, len(groups) > 1)
    steps = [*arrive(tuple(member.id for member in members), target), *replace(groups, target)]
    return Plan(policy="Rolling", steps=tuple(steps), notes=notes, downtime=downtime)
