"""The way back, decided from what is observed and not from what was planned.

Every instance that does not serve the old release goes to it, at once and start-first: the old release is on the
instance, mostly still running. What this operation launched goes away. Nothing is fetched anew, no leader-only command
runs. What cannot be reached is out of rotation until it can.
"""

from __future__ import annotations

from beanpole.policies.change import Member, Target
from beanpole.policies.deployment import batch, drain, exclude, slots_of
from beanpole.policies.plan import AnyStep, Leave, Plan, Register, Shift, Terminate


def plan(
    members: tuple[Member, ...],
    launched: tuple[str, ...],
    target: Target | None,
    *,
    touched: frozenset[str] = frozenset(),
    checks: bool = False,
    shared: bool = False,
) -> Plan:
    """`launched`: instances that the operation itself made. `target`: what to go back to, None for nothing.

    `touched`: instances on which a release was started, so that something besides the target may run there. `checks`:
    the balancer was told to check otherwise. `shared`: requests were shared anew, which is taken back before all else.
    """
    staying = tuple(member for member in members if member.id not in launched)
    wrong = tuple(member for member in staying if target and member.digest != target.digest)
    astray = tuple(member for member in wrong if member.reachable)
    steps: list[AnyStep] = []
    if target is not None and shared:
        steps += take_back(launched)
    if target is not None:
        groups = _groups(astray, target)
        for number, slots in enumerate(groups, 1):
            steps += batch(number, len(groups), slots, target)
    if target is not None and checks and any(member.reachable for member in staying):
        ids = tuple(member.id for member in staying if member.reachable)
        steps.append(Register(key="register", slots=ids, words="Tell the balancer the former health check"))
    steps += exclude(slots_of([member for member in wrong if not member.reachable]))
    both = {member.id for member in astray} | touched
    leftover = tuple(member.id for member in staying if member.id in both and member.reachable)
    if target is not None and leftover:
        steps.append(drain(leftover, "Stop what else was started there"))
    if target is not None:
        steps += remove(launched)
    return Plan(policy="Rollback", steps=tuple(steps))


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


def _groups(astray: tuple[Member, ...], target: Target) -> list[tuple[str, ...]]:
    """All at once. Stop-first: those that serve nothing first, then the others in halves."""
    if target.stop_first is None:
        return [tuple(member.id for member in astray)] if astray else []
    idle = tuple(member.id for member in astray if member.digest is None)
    serving = tuple(member.id for member in astray if member.digest is not None)
    half = (len(serving) + 1) // 2
    return [group for group in (idle, serving[:half], serving[half:]) if group]
