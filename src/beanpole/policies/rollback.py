"""The way back, decided from what is observed and not from what was planned.

Every instance that does not serve the old release goes to it, at once and start-first: the old release is on the
instance, mostly still running. What this operation launched goes away, unless it has taken the place of an instance
that is gone: then the old release comes to it. No leader-only command runs. What cannot be reached is out of rotation
until it can.
"""

from __future__ import annotations

import msgspec

from beanpole.policies.change import Member, Target
from beanpole.policies.deployment import arrive, batch, drain, exclude, slots_of
from beanpole.policies.plan import AnyStep, Leave, Plan, Register, Terminate


def plan(
    members: tuple[Member, ...],
    launched: tuple[str, ...],
    target: Target | None,
    *,
    touched: frozenset[str] = frozenset(),
    checks: bool = False,
    number: int = 0,
) -> Plan:
    """`launched`: instances that the operation itself made. `target`: what to go back to, None for nothing.

    `touched`: instances on which a release was started, so that something besides the target may run there. `checks`:
    the balancer was told to check otherwise. `number`: how many instances there are to be; of those launched, the ones
    that serve make up for what is missing.
    """
    staying = tuple(member for member in members if member.id not in launched)
    heirs = _heirs(members, launched, number - len(staying)) if target is not None else ()
    launched = tuple(each for each in launched if each not in slots_of(heirs))
    wrong = tuple(member for member in staying if target and member.digest != target.digest)
    astray = tuple(member for member in wrong if member.reachable)
    steps: list[AnyStep] = []
    if target is not None:
        groups = _groups(astray, target)
        for at, slots in enumerate(groups, 1):
            steps += batch(at, len(groups), slots, target)
        strange = slots_of([member for member in heirs if member.digest != target.digest])
        if strange:
            whole = msgspec.structs.replace(target, once=False, prepare=True)
            steps += [*arrive(strange, whole), *batch(len(groups) + 1, len(groups) + 1, strange, whole)]
            touched |= set(strange)
    asked = (*(member for member in staying if checks and member.reachable), *heirs)
    if target is not None and asked:
        ids = slots_of(asked)
        steps.append(Register(key="register", slots=ids, words="Tell the balancer the former health check"))
    steps += exclude(slots_of([member for member in wrong if not member.reachable]))
    both = {member.id for member in astray} | touched
    leftover = tuple(member.id for member in (*staying, *heirs) if member.id in both and member.reachable)
    if target is not None and leftover:
        steps.append(drain(leftover, "Stop what else was started there"))
    if launched and target is not None:
        steps.append(Leave(key="leave", slots=launched, words="Take the new instances out of rotation"))
        steps.append(Terminate(key="terminate", slots=launched, words="Remove the new instances"))
    return Plan(policy="Rollback", steps=tuple(steps))


def _heirs(members: tuple[Member, ...], launched: tuple[str, ...], missing: int) -> tuple[Member, ...]:
    """Instances that were launched and serve, as many as others are missing."""
    serving = [member for member in members if member.id in launched and member.digest and member.reachable]
    return tuple(serving[: max(missing, 0)])


def _groups(astray: tuple[Member, ...], target: Target) -> list[tuple[str, ...]]:
    """All at once. Stop-first: those that serve nothing first, then the others in halves."""
    if target.stop_first is None:
        return [tuple(member.id for member in astray)] if astray else []
    idle = tuple(member.id for member in astray if member.digest is None)
    serving = tuple(member.id for member in astray if member.digest is not None)
    half = (len(serving) + 1) // 2
    return [group for group in (idle, serving[:half], serving[half:]) if group]
