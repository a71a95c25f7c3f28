"""Watch: a new release is judged by what the requests meet that it gets beside the old one.

The rule is in policies/canary.py. What was counted is journaled by the minute, so that a control plane that comes back
judges by the same minutes. An instance that the balancer finds unhealthy for some seconds ends the watch as well.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.balancer import pool as pools
from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.operations.health_check import forgives
from beanpole.operations.steps.shift import CANARY, concerned
from beanpole.policies.canary import Arm, Terms, arm_of, judge
from beanpole.policies.plan import Watch
from beanpole.store import instances, operations

if TYPE_CHECKING:
    from beanpole.operations.work import Work
    from beanpole.options.settings import Settings
    from beanpole.policies.canary import Finding
    from beanpole.store.instances import Endpoint

LOOK = 2.0
"""Seconds between looks."""

UNWELL = 10.0
"""Seconds for which an instance is unhealthy before it counts: a process that ends is started again sooner."""

NEVER = 1 << 40
"""A second after which nothing was counted yet."""

REMEDY = "Look at the logs of the new release. `beanpole:canary` has the options by which it is judged."


@dataclass
class Evidence:
    """Up to the second `until`, since 1970 by the balancer's clock. `minute`: the last one that is journaled."""

    until: int
    new: Arm = field(default_factory=Arm)
    old: Arm = field(default_factory=Arm)
    minute: int = 0
    unwell: dict[str, float] = field(default_factory=dict)
    """Since when, by the loop's clock."""


async def watch(work: Work) -> dict[str, Any]:
    step = work.step
    if not isinstance(step, Watch):
        raise TypeError(f"{type(step).__name__} judges nothing")
    loop, terms = asyncio.get_running_loop(), terms_of(work.settings)
    began, now = await _began(work)
    evidence = _evidence(work, began)
    # By both clocks, since somebody may put the balancer's back.
    end = loop.time() + min(began + step.seconds - now, step.seconds)
    chosen = set(concerned(work, step.to))
    while True:
        await _count(work, chosen, evidence)
        finding = judge(evidence.new, evidence.old, terms)
        if finding.worse and work.settings.boolean(CANARY, "Judge"):
            raise work.failed("; ".join(finding.worse), REMEDY)
        await _refuse_unwell(work, chosen, evidence)
        promoted = await asyncio.to_thread(_promoted, work)
        left = end - loop.time()
        if promoted or left <= 0:
            break
        passed = max(step.seconds - left, 0.0)
        work.progress(f"seconds; {finding.words}", int(passed), int(step.seconds))
        await asyncio.to_thread(_note, work, evidence, int(passed // 60))
        await asyncio.sleep(min(LOOK, left))
    _tell(work, finding, promoted=promoted)
    return {"new": evidence.new.requests, "old": evidence.old.requests, "judged": finding.judged, "promoted": promoted}


def terms_of(settings: Settings) -> Terms:
    return Terms(
        requests=settings.integer(CANARY, "MinRequests"),
        errors=settings.number(CANARY, "MaxErrorIncrease"),
        slowdown=settings.number(CANARY, "MaxSlowdown"),
    )


def _key(work: Work, what: str) -> str:
    return f"{work.phase}/{work.step.key}/{work.slot}/{what}"


async def _began(work: Work) -> tuple[int, int]:
    """The seconds in which the watch began, before whatever deaths of control planes, and in which it is now.

    Both since 1970 by the balancer's own clock, by which requests are counted: ours may be another one, or be set.
    """
    now: int = (await work.parts.balancers.requests(NEVER))["now"]
    return await asyncio.to_thread(_note_begin, work, now), now


def _note_begin(work: Work, now: int) -> int:
    key = _key(work, "since")
    with work.writing() as db:
        known = operations.journal_of(db, work.operation.id).get(key)
        if known is None:
            known = {"second": now}
            operations.record(db, work.operation, work.now(), key, known)
    return int(known["second"])


def _evidence(work: Work, began: int) -> Evidence:
    """What a control plane that died had counted."""
    with work.parts.database.read() as db:
        journal = operations.journal_of(db, work.operation.id)
    evidence = Evidence(until=began)
    while (known := journal.get(_key(work, f"minute-{evidence.minute + 1}"))) is not None:
        evidence.minute += 1
        evidence.until = known["until"]
        evidence.new, evidence.old = (msgspec.convert(known[name], Arm) for name in ("new", "old"))
    return evidence


def _note(work: Work, evidence: Evidence, minute: int) -> None:
    """Everything up to now, when another minute is over."""
    if minute <= evidence.minute:
        return
    found = {"until": evidence.until, "new": evidence.new, "old": evidence.old}
    with work.writing() as db:
        for each in range(evidence.minute + 1, minute + 1):
            operations.record(db, work.operation, work.now(), _key(work, f"minute-{each}"), found)
    evidence.minute = minute


async def _count(work: Work, chosen: set[str], evidence: Evidence) -> None:
    """Add what ended since the last look. A balancer that does not tell now tells it the next time."""
    try:
        counted = await work.parts.balancers.requests(evidence.until)
    except (AgentError, AgentWillNotStart):
        return
    arms = {_name(each): each.instance_id in chosen for each in _serving(work)}
    seconds = [pool.get(work.environment.id, {}) for pool in counted["seconds"].values()]
    for new in (True, False):
        tallies = [tally for found in seconds for key, tally in found.items() if arms.get(key) is new]
        arm = arm_of(tallies)
        if new:
            evidence.new += arm
        else:
            evidence.old += arm
    evidence.until = max(evidence.until, counted["now"])


async def _refuse_unwell(work: Work, chosen: set[str], evidence: Evidence) -> None:
    """Raises StepFailed for a chosen instance that has been unhealthy for too long."""
    if forgives(work.settings):
        return
    try:
        view = (await work.parts.balancers.view()).get(work.environment.id, {})
    except (AgentError, AgentWillNotStart):
        return
    now = asyncio.get_running_loop().time()
    ill = {
        each.instance_id
        for each in _serving(work)
        if each.instance_id in chosen and view.get(_name(each), {}).get("healthy") is False
    }
    evidence.unwell = {each: evidence.unwell.get(each, now) for each in ill}
    for each, since in sorted(evidence.unwell.items()):
        if now - since >= UNWELL:
            raise work.failed(f"the balancer finds {each} unhealthy for {now - since:.0f} s", REMEDY)


def _serving(work: Work) -> list[Endpoint]:
    with work.parts.database.read() as db:
        return [each for each in instances.endpoints(db, work.environment.id) if each.state == "serving"]


def _name(of: Endpoint) -> str:
    return pools.Endpoint(of.address, of.port).key


def _promoted(work: Work) -> bool:
    with work.parts.database.read() as db:
        found = operations.find(db, work.operation.id)
    return found is not None and found.promoted


def _tell(work: Work, finding: Finding, *, promoted: bool) -> None:
    if promoted:
        work.say(f"The new version was promoted before its time was over: {finding.words}.")
    elif not finding.judged:
        work.say(f"The new version was not judged, since it had too few requests: {finding.words}.", "WARN")
    elif finding.worse:
        work.say(f"The new version is worse, which is not judged (beanpole:canary Judge): {finding.words}.", "WARN")
    else:
        work.say(f"The new version does as well as the old one: {finding.words}.")
