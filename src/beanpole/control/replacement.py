"""The plan of an update that needs other instances: which of the ways that the settings of rolling updates name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.control import errors
from beanpole.options.precedence import ROLLING_UPDATE
from beanpole.policies import capacity, immutable, replacement
from beanpole.policies.change import Rules
from beanpole.policies.replacement import NoRoom, UpdateRules

if TYPE_CHECKING:
    from beanpole.options.settings import Settings
    from beanpole.policies.change import Member, Target
    from beanpole.policies.plan import AnyStep, Plan
    from beanpole.policies.severity import Severity

POLICY = replacement.POLICY


def plan(
    in_force: Settings, fleet: tuple[Member, ...], goal: Target, desired: int, needed: Severity, room: int
) -> Plan:
    """`desired` instances serve in place of the fleet afterwards. Raises the API's error where there is no way."""
    rules = rules_of(in_force)
    if rules.enabled and rules.kind == immutable.NAME:
        made = immutable.plan(fleet, goal, Rules(), desired)
        return msgspec.structs.replace(made, notes=(f"{needed.words()}: all instances are replaced.", *made.notes))
    surplus = max(len(fleet) - desired, 0)
    steps: list[AnyStep] = capacity.shrink(fleet, surplus) if surplus else []
    leaving = {slot for step in steps for slot in step.slots}
    staying = tuple(member for member in fleet if member.id not in leaving)
    try:
        made = replacement.plan(staying, goal, rules, goal=desired, room=room, why=needed.words())
    except NoRoom as none:
        raise errors.invalid(str(none)) from none
    return msgspec.structs.replace(made, steps=(*steps, *made.steps))


def rules_of(in_force: Settings) -> UpdateRules:
    pause = in_force.text(ROLLING_UPDATE, "PauseTime")
    return UpdateRules(
        enabled=in_force.boolean(ROLLING_UPDATE, "RollingUpdateEnabled"),
        kind=in_force.text(ROLLING_UPDATE, "RollingUpdateType"),
        batch=in_force.integer(ROLLING_UPDATE, "MaxBatchSize"),
        in_service=in_force.integer(ROLLING_UPDATE, "MinInstancesInService"),
        pause=in_force.seconds(ROLLING_UPDATE, "PauseTime") if pause else 0.0,
        within=in_force.seconds(ROLLING_UPDATE, "Timeout"),
    )
