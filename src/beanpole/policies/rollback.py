"""The way back, decided from what is observed and not from what was planned.

Every instance that does not serve the old release goes to it, at once and start-first: the old release is on the
instance, mostly still running. Where it is stop-first, no more instances are out at a time than on the way forward, and
half of those that serve at most. What this operation launched goes away, unless it has taken the place of an instance
that is gone: then the old release comes to it. No leader-only command runs. What cannot be reached is out of rotation
until it can.
"""

from __future__ import annotations

import msgspec

from beanpole.policies.change import Member, Target
from beanpole.policies.deployment import arrive, batch, drain, exclude, prefixed, slots_of
from beanpole.policies.plan import AnyStep, Leave, Plan, Register, Shift, Terminate


def plan(
    members: tuple[Member, ...],
    launched: tuple[str, ...],
    target: Target | None,
    *,
    touched: frozenset[str] = frozenset(),
    checks: bool = False,
    number: int = 0,
    shared: bool = False,
    at_once: int = 0,
) -> Plan:
    """`launched`: instances that the operation itself made. `target`: what to go back to, None for nothing.

    `touched`: instances on which a release was started, so that something besides the target may run there. `checks`:
    the balancer was told to check otherwise. `shared`: requests were shared anew, which is taken back before all else.
    `number`: how many instances there are to be; of those launched, the ones that serve make up for what is missing.
    `at_once`: so many instances were out of rotation at a time on the way forward; 0: that is not known.
    """
    staying = tuple(member for member in members if member.id not in launched)
    heirs = _heirs(members, launched, number) if target is not None else ()
    launched = tuple(each for each in launched if each not in slots_of(heirs))
    wrong = tuple(member for member in staying if target and member.digest != target.digest)
    astray = tuple(member for member in wrong if member.reachable)
    serving = {member.id for member in members if member.digest is not None}
    steps: list[AnyStep] = []
    if target is not None and shared:
        steps += take_back(launched)
    if target is not None:
        strange = tuple(member for member in heirs if member.digest != target.digest)
        groups, more = _groups(astray, target, at_once), _groups(strange, target, at_once)
        of = len(groups) + len(more)
        for at, slots in enumerate(groups, 1):
            steps += batch(at, of, slots, target)
        if strange:
            # What does not serve makes way first, for the sake of its memory.
            idle = tuple(each for each in launched if each not in serving)
            steps += prefixed("idle", remove(idle))
            launched = tuple(each for each in launched if each in serving)
            whole = msgspec.structs.replace(target, once=False, prepare=True)
            steps += arrive(slots_of(strange), whole)
            for at, slots in enumerate(more, len(groups) + 1):
                steps += batch(at, of, slots, whole)
            touched |= set(slots_of(strange))
    asked = (*(member for member in staying if checks and member.reachable), *heirs)
    if target is not None and asked:
        ids = slots_of(asked)
        steps.append(Register(key="register", slots=ids, words="Tell the balancer the former health check"))
    steps += exclude(slots_of([member for member in wrong if not member.reachable]))
    both = {member.id for member in astray} | touched
    leftover = tuple(member.id for member in (*staying, *heirs) if member.id in both and member.reachable)
    if target is not None and leftover:
        steps.append(drain(leftover, "Stop what else was started there"))
    if target is not None:
        steps += remove(launched)
    return Plan(policy="Rollback", steps=tuple(steps))


def surplus(members: tuple[Member, ...], launched: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Those that were launched and are not needed for there to be so many instances."""
    heirs = slots_of(_heirs(members, launched, number))
    return tuple(each for each in launched if each not in heirs)


def _heirs(members: tuple[Member, ...], launched: tuple[str, ...], number: int) -> tuple[Member, ...]:
    """Instances that were launched and serve, as many as others are missing."""
    missing = number - sum(member.id not in launched for member in members)
    serving = [member for member in members if member.id in launched and member.digest and member.reachable]
    return tuple(serving[: max(missing, 0)])


def give_back(launched: tuple[str, ...]) -> list[AnyStep]:
    """What the operation made gets no requests and goes away; nothing else is touched."""
    return [*take_back(launched), *remove(launched)]


def take_back(launched: tuple[str, ...]) -> list[AnyStep]:
    """The instances of before get all requests, and share them alike."""
    if not launched:
        return []
    words = "Send all requests to the instances of before"
    return [Shift(key="shift", slots=launched[:1], to=launched, percent=0, words=words)]


def remove(launched: tuple[str, ...]) -> list[AnyStep]:
    """What the operation made goes away."""
    if not launched:
        return []
    return [
        Leave(key="leave", slots=launched, words="Take the new instances out of rotation"),
        Terminate(key="terminate", slots=launched, words="Remove the new instances"),
    ]


def _groups(astray: tuple[Member, ...], target: Target, at_once: int) -> list[tuple[str, ...]]:
    """All at once. Stop-first: those that serve nothing first, then the others, `at_once` or a half at a time."""
    if target.stop_first is None:
        return [slots_of(astray)] if astray else []
    idle = slots_of([member for member in astray if member.digest is None])
    serving = slots_of([member for member in astray if member.digest is not None])
    half = (len(serving) + 1) // 2
    size = max(min(at_once or half, half), 1)
    return [group for group in (idle, *(serving[at : at + size] for at in range(0, len(serving), size))) if group]
