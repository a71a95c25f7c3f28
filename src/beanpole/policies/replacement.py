"""Replace every instance by a new one, as the settings of rolling updates say: so many at a time, after which pause.

New instances serve before old ones leave, wherever there is room for both, so that capacity never falls; only where
there is none do old ones leave first. Version and settings come with the new instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.policies.deployment import Slots, arrive, batch, count, on_new
from beanpole.policies.plan import AnyStep, Gate, Launch, Leave, Pause, Plan, Retire, Terminate

if TYPE_CHECKING:
    from beanpole.policies.change import Member, Target

POLICY = "RollingUpdate"


class UpdateRules(msgspec.Struct, frozen=True):
    """From the option settings. `pause` and `within` are in seconds; without `enabled` the others mean nothing."""

    enabled: bool = False
    kind: str = "Time"
    batch: int = 1
    in_service: int = 0
    pause: float = 0.0
    within: float = 1800.0


class NoRoom(Exception):
    """`cause` and `remedy` are sentences."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


def plan(members: tuple[Member, ...], target: Target, rules: UpdateRules, *, goal: int, room: int, why: str) -> Plan:
    """`members` are oldest first; `goal`, at least as many, is how many there are to be afterwards.

    `room`: how many instances more than now there is room for. `why`: which change needs this. Raises NoRoom.
    """
    size, first = batch_size(len(members), rules, room)
    order = sorted(members, key=lambda member: (member.reachable, member.digest is not None))
    leaving = [tuple(each.id for each in order[at : at + size]) for at in range(0, len(order), size)]
    steps: list[AnyStep] = []
    launched = 0
    for number, old in enumerate(leaving, 1):
        beside = tuple(each for others in leaving[number - 1 :] for each in others) if first else ()
        last = number == len(leaving)
        wanted = len(old) + (goal - len(members) if last else 0)
        new = tuple(f"new-{at}" for at in range(launched + 1, launched + wanted + 1))
        launched += wanted
        came = _come(number, len(leaving), new, old, _target(target, number), rules, beside)
        went = _go(number, old, last=last and first)
        steps += [*came, *went] if first else [*went, *came]
        if rules.enabled and rules.kind == "Time" and rules.pause and not last:
            words = f"Wait for {rules.pause:.0f} s before the next batch (PauseTime)"
            steps.append(Pause(key=f"pause-{number}", slots=new[:1], seconds=rules.pause, words=words))
    alone = not first and len(members) == 1
    return Plan(policy=POLICY, steps=tuple(steps), notes=_notes(len(members), size, why, first, alone), downtime=alone)


def batch_size(number: int, rules: UpdateRules, room: int) -> tuple[int, bool]:
    """How many of so many instances are replaced at a time, and whether their successors serve first. Raises NoRoom."""
    spare = number - rules.in_service if rules.enabled else number
    # Where the minimum leaves none to spare, there is a batch more of them for a while.
    wish = min(rules.batch, spare if spare > 0 else number) if rules.enabled else number
    if room > 0:
        return max(min(wish, room), 1), True
    if spare < 1:
        raise NoRoom(
            f"There is no room for an instance more, and MinInstancesInService ({rules.in_service}) lets none of the "
            f"{number} leave first.",
            "Lower MinInstancesInService in aws:autoscaling:updatepolicy:rollingupdate, or make room.",
        )
    # All at once would be an outage that nobody asked for.
    return max(min(wish, (number + 1) // 2), 1), False


def _target(target: Target, number: int) -> Target:
    """The leader is among the first ones."""
    return msgspec.structs.replace(on_new(target), once=target.once and number == 1, prepare=True)


def _come(
    number: int, of: int, new: Slots, old: Slots, target: Target, rules: UpdateRules, beside: Slots
) -> list[AnyStep]:
    """`beside`: all that are to leave sooner or later, so that each server of theirs may take a second one."""
    words = f"Batch {number} of {of}: launch {count(new)} to replace {', '.join(old)}"
    steps: list[AnyStep] = [Launch(key=f"launch-{number}", slots=new, beside=beside, words=words)]
    steps += [_numbered(step, number) for step in arrive(new, target)]
    for step in batch(number, of, new, target):
        healthy = isinstance(step, Gate) and rules.enabled and rules.kind == "Health"
        steps.append(msgspec.structs.replace(step, within=rules.within) if healthy else step)
    return steps


def _numbered(step: AnyStep, number: int) -> AnyStep:
    return msgspec.structs.replace(step, key=f"{step.key}-{number}")


def _go(number: int, old: Slots, *, last: bool) -> list[AnyStep]:
    """When the last successors serve there is no way back any more; until then there is."""
    words = f"Take {count(old)} out of rotation and let the requests end"
    if last:
        return [Retire(key=f"retire-{number}", slots=old, words=f"{words}, then remove {_it(old)}")]
    return [
        Leave(key=f"leave-{number}", slots=old, words=words),
        Terminate(key=f"terminate-{number}", slots=old, words=f"Remove {count(old)}"),
    ]


def _it(slots: Slots) -> str:
    return "it" if len(slots) == 1 else "them"


def _notes(number: int, size: int, why: str, first: bool, alone: bool) -> tuple[str, ...]:
    instances = "the instance is" if number == 1 else "all instances are"
    step = "" if size >= number else ", one at a time" if size == 1 else f", {size} at a time"
    said = f"{why}: {instances} replaced{step}."
    if first:
        return (said,)
    if alone:
        return (f"{said} There is no room for its successor beside it: requests fail until that answers.",)
    return (f"{said} There is no room for their successors beside them; the other instances serve meanwhile.",)
