"""Whether a new release is worse than the old one, by what requests met at both over the same minutes. PURE.

Errors: the share of requests that failed at the new release, less that at the old one. Of this difference the lower
bound of Newcombe's interval is taken (method 10 of R. G. Newcombe, "Interval estimation for the difference between
independent proportions", Statistics in Medicine 17, 1998: from E. B. Wilson's intervals of both shares), which holds
for few requests and for no errors at all. The new release is worse when that bound is above what the terms allow.

Latency, by the same rule: a request is slow when it took longer than `slowdown` times what 90 of 100 requests to the
old release took. The new release is worse when clearly more of its requests are slow (SLOW_SHARE).

Both are looked at again and again, and each look is a chance to be wrong; so each has to be much surer (SURE) than a
single test would have to be. With fewer requests than the terms want, on either side, nothing is said.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SURE = 3.29
"""Standard deviations of the one-sided bound: one look in 2,000 at two equal releases is beyond it."""

SLOW_SHARE = 0.05
"""How many more of the new release's requests may be slow."""

SLOW_FLOOR = 20.0
"""Milliseconds more than the old release that are never slow, however quick that is."""

BOUNDS = tuple(round(1.25**power, 2) for power in range(60))
"""Upper ends in milliseconds of the classes in which latencies are counted: a quarter apart, up to some nine minutes.
What takes longer is in one more class."""


class Arm(msgspec.Struct, frozen=True):
    """What requests met at the instances of one release. `spread`: how many took how long, by BOUNDS."""

    requests: int = 0
    failed: int = 0
    spread: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    def __add__(self, other: Arm) -> Arm:
        spread = tuple(one + more for one, more in zip(self.spread, other.spread, strict=True))
        return Arm(self.requests + other.requests, self.failed + other.failed, spread)

    @property
    def failing(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    def within(self, part: float) -> float | None:
        """Milliseconds within which that part of the requests ended; None when nothing is known, or it took too long
        for any class."""
        total, seen = sum(self.spread), 0
        for bound, number in zip(BOUNDS, self.spread, strict=False):
            seen += number
            if total and seen >= part * total:
                return bound
        return None

    def slower(self, milliseconds: float) -> int:
        """How many took longer, by classes that are wholly above it."""
        return sum(self.spread[bisect_left(BOUNDS, milliseconds) + 1 :])


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`requests`: that either release must have had. `errors`: by how many percentage points more may fail."""

    requests: int = 100
    errors: float = 1.0
    slowdown: float = 2.0


class Finding(msgspec.Struct, frozen=True):
    """`worse`: a sentence for each reason; none when it is as good as the old one. Not `judged`: too few requests.

    `words`: what was seen, for a person.
    """

    worse: tuple[str, ...]
    judged: bool
    words: str


def judge(new: Arm, old: Arm, terms: Terms) -> Finding:
    """By all that was seen up to now."""
    seen = f"{_seen(new)} at the new release; {_seen(old)} at the old one"
    if min(new.requests, old.requests) < terms.requests:
        return Finding((), judged=False, words=f"{seen}. Of either, {terms.requests} requests are needed to judge")
    worse = tuple(reason for reason in (_more_errors(new, old, terms), _slower(new, old, terms)) if reason)
    return Finding(worse, judged=True, words=seen)


def least_difference(hits: int, of: int, other_hits: int, other_of: int, sure: float = SURE) -> float:
    """The lower bound of the difference of two shares, by Newcombe's method 10. Both are of more than 0.

    `sure`: how many standard deviations away it is.
    """
    share, other = hits / of, other_hits / other_of
    low, _ = _wilson(hits, of, sure)
    _, high = _wilson(other_hits, other_of, sure)
    return share - other - math.hypot(share - low, high - other)


def arm_of(tallies: Iterable[Mapping[str, object]]) -> Arm:
    """From the counts of a balancer's agent, each of one endpoint and one second."""
    arm = Arm()
    for tally in tallies:
        counts = {name: number for name, number in tally.items() if isinstance(number, int)}
        spread = [0] * (len(BOUNDS) + 1)
        latencies = tally.get("latency_ms", ())
        for each in latencies if isinstance(latencies, list | tuple) else ():
            spread[bisect_left(BOUNDS, each)] += 1
        failed = counts.pop("failed", 0)
        # An answer that was cut off after its head has both a status and a failure.
        arm += Arm(max(sum(counts.values()), failed), failed, tuple(spread))
    return arm


def _more_errors(new: Arm, old: Arm, terms: Terms) -> str:
    if least_difference(new.failed, new.requests, old.failed, old.requests) <= terms.errors / 100:
        return ""
    return (
        f"{new.failing:.1%} of {new.requests} requests to the new release failed, and {old.failing:.1%} of "
        f"{old.requests} to the old one"
    )


def _slower(new: Arm, old: Arm, terms: Terms) -> str:
    usual = old.within(0.9)
    timed, old_timed = sum(new.spread), sum(old.spread)
    if usual is None or not timed:
        return ""
    slow = max(usual * terms.slowdown, usual + SLOW_FLOOR)
    slower, old_slower = new.slower(slow), old.slower(slow)
    if least_difference(slower, timed, old_slower, old_timed) <= SLOW_SHARE:
        return ""
    return (
        f"{slower / timed:.1%} of the requests to the new release took longer than {slow:.0f} ms, and "
        f"{old_slower / old_timed:.1%} of those to the old one"
    )


def _wilson(hits: int, of: int, sure: float) -> tuple[float, float]:
    share, square = hits / of, sure * sure
    middle = share + square / (2 * of)
    half = sure * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    whole = 1 + square / of
    return max((middle - half) / whole, 0.0), min((middle + half) / whole, 1.0)


def _seen(arm: Arm) -> str:
    usual = arm.within(0.9)
    quick = f", 90 of 100 within {usual:.0f} ms" if usual is not None else ""
    requests = "1 request" if arm.requests == 1 else f"{arm.requests} requests"
    return f"{requests}, {arm.failed} failed{quick}"
