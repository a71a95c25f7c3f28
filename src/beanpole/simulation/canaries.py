"""Whether canaries were judged as is promised, by what their requests really met.

The product's rule is in policies/canary.py. This is another one, on purpose: the plain normal approximation of two
shares, with margins so wide that the two can disagree only where one of them is wrong. A good release may be refused by
bad luck, as often as the rule says; that shows in the counts of many runs, and is no broken promise of one.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.policies.canary import SLOW_FLOOR, SLOW_SHARE, Terms

if TYPE_CHECKING:
    from beanpole.simulation.traffic import Fared
    from beanpole.simulation.world import World

CLEAR = 6.0
"""Standard deviations at which a difference has to be seen."""

FAINT = 1.5
"""Those below which nobody may say that there is one."""

CLASS = 1.6
"""Latencies are counted in classes a quarter apart, so that two ways to look at them may differ by two classes."""

LAST = 4.0
"""Seconds at the end of a watch whose requests nobody may have counted yet."""

TERMS = Terms()


class Canary(msgspec.Struct, frozen=True):
    """`equal`: its requests fared as the old release's did. `ended`: passed, refused, promoted, or ended otherwise."""

    operation: int
    equal: bool
    judged: bool
    ended: str


WATCHED = (
    "SELECT outcome, digest, error, journal.result FROM operation JOIN release "
    "ON release.environment_id = operation.environment_id AND number = release "
    "LEFT JOIN journal ON journal.operation_id = operation.id AND key = 'forward/watch/new-1' "
    "WHERE phase = 'done' AND operation.id = ?"
)


def canary_of(world: World, number: int, begin: float, end: float) -> tuple[Canary | None, list[str]]:
    """Of the operation of that number, which watched one in these seconds. Also what was promised otherwise."""
    rows = world.store.ask(WATCHED, number)
    if not rows:
        return None, []
    ((outcome, digest, error, noted),) = rows
    result: dict[str, Any] = json.loads(noted or "{}")
    blame: dict[str, Any] = json.loads(error or "{}")
    refused = blame.get("stage") == "Watch" and "the new release" in blame["cause"]
    passed = outcome == "succeeded" and not result.get("promoted")
    ended = "refused" if refused else "passed" if passed else "promoted" if result.get("promoted") else "otherwise"
    found = Canary(number, world.version(digest).is_equal, bool(result.get("judged")) or refused, ended)
    new, old = world.edge.traffic.fared(digest, begin, end if refused else end - LAST)
    counted = (
        f"{new.failed} of {new.requests} requests failed at the new release, {old.failed} of {old.requests} at the old"
    )
    enough = min(new.requests, old.requests) >= TERMS.requests and not _is_mute(world, begin, end)
    broken = []
    if passed and enough and (_errors(new, old, CLEAR) or _slow(new, old, CLEAR, CLASS)):
        broken.append(f"a bad canary became the whole fleet in operation {number}: {counted}")
    if passed and not found.judged and enough:
        broken.append(f"the canary of operation {number} was not judged though it had enough requests: {counted}")
    if refused and not (_errors(new, old, FAINT) or _slow(new, old, FAINT, 1 / CLASS)):
        broken.append(f"a good canary was refused in operation {number}: {counted}")
    return found, broken


def _errors(new: Fared, old: Fared, sure: float) -> bool:
    return _more((new.failed, new.requests), (old.failed, old.requests), sure, TERMS.errors / 100 if sure > 2 else 0.0)


def _slow(new: Fared, old: Fared, sure: float, strict: float) -> bool:
    if not new.latencies or not old.latencies:
        return False
    usual = sorted(old.latencies)[len(old.latencies) * 9 // 10]
    limit = max(usual * TERMS.slowdown, usual + SLOW_FLOOR) * strict
    mine, theirs = (sum(each > limit for each in of.latencies) for of in (new, old))
    return _more((mine, len(new.latencies)), (theirs, len(old.latencies)), sure, SLOW_SHARE if sure > 2 else 0.0)


def _more(one: tuple[int, int], other: tuple[int, int], sure: float, allowed: float) -> bool:
    """Whether one share is larger than the other by more than is allowed, so many standard deviations away."""
    (hits, of), (other_hits, other_of) = one, other
    if not of or not other_of:
        return False
    share, beside = hits / of, other_hits / other_of
    deviation = math.sqrt(share * (1 - share) / of + beside * (1 - beside) / other_of)
    return share - beside - sure * deviation > allowed


def _is_mute(world: World, begin: float, end: float) -> bool:
    """Whether the balancer could not be asked for a part of that time: then nobody knows what it counted."""
    faults = (fault for fault in world.scenario.faults if fault.kind == "edge")
    return any(fault.at <= end and fault.at + fault.lasts >= begin for fault in faults)
