"""AllAtOnce: every instance in one batch. Start-first, so no request is lost.

Where the release is stop-first and there are several instances, half of them go first: everything at once would be an
outage that nobody asked for.
"""

from __future__ import annotations

from beanpole.policies.change import Member, Rules, Target, batches, split
from beanpole.policies.deployment import arrive, notes_of, replace, slots_of, stop_first_notes
from beanpole.policies.plan import Plan


def plan(members: tuple[Member, ...], target: Target, _rules: Rules) -> Plan:
    reached, behind = split(members, target)
    several = len(reached) > 1
    size = (len(reached) + 1) // 2 if target.stop_first and several else len(reached)
    groups = batches(reached, Rules(batch_size=size, batch_is_percentage=False))
    notes, downtime = stop_first_notes(target, several)
    steps = [*arrive(slots_of(reached), target), *replace(groups, target, slots_of(behind))]
    return Plan(policy="AllAtOnce", steps=tuple(steps), notes=notes + notes_of(behind), downtime=downtime)
