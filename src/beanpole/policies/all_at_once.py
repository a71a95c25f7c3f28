"""AllAtOnce: every instance in one batch. Start-first, so no request is lost.

Where the release is stop-first and there are several instances, half of them go first: everything at once would be an
outage that nobody asked for.
"""

from __future__ import annotations

from beanpole.policies.change import Member, Rules, Target, batches
from beanpole.policies.deployment import arrive, replace, stop_first_notes
from beanpole.policies.plan import Plan


def plan(members: tuple[Member, ...], target: Target, _rules: Rules) -> Plan:
    several = len(members) > 1
    size = (len(members) + 1) // 2 if target.stop_first and several else len(members)
    groups = batches(members, Rules(batch_size=size, batch_is_percentage=False))
    notes, downtime = stop_first_notes(target, several)
    steps = [*arrive(tuple(member.id for member in members), target), *replace(groups, target)]
    return Plan(policy="AllAtOnce", steps=tuple(steps), notes=notes, downtime=downtime)
