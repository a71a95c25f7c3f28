"""Whether a release that passed has turned out bad: the rule by which the system returns from it without being asked.

While it is watched, a release is bad when one of these is true:

1. Its web process died DEATHS times on one instance. Deaths on different instances do not add up.
2. One instance has been unhealthy without a break for longer than StartTimeout and the time that the health check
   itself needs. That is how long a process that is started again may take to come back, whatever ended it.
3. At least half of the instances have been unhealthy for SETTLED seconds although nothing is being started there: the
   processes are those that passed, or have been up for longer than StartTimeout. An instance to which an operation that
   failed could not bring it back counts as one of these: the release did not start there, or not pass its checks.

An instance whose agent is silent, or says that the release is not there, tells of its machine and not of the release:
it is no reason to return. Neither is what nobody looked at: after a gap between looks, time is counted anew.

Times are in seconds. Nothing here does I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DEATHS = 3
"""Two may be somebody's `kill` and a full memory; three within the watched minutes are a habit."""

SETTLED = 10.0
"""Seconds for which half of the fleet must be unhealthy: longer than a pause for breath, shorter than a coffee."""

GAP = 10.0
"""Seconds between two looks after which nothing is known of the time between: this machine slept, or we did."""

FRESH = 10.0
"""Seconds for which an agent's word about an unhealthy instance counts."""

GONE = 5.0
"""Seconds for which an agent must go on saying that a release is gone before it is taken at its word."""


class Told(msgspec.Struct, frozen=True):
    """What an agent says of the web process of the release that should serve on its instance."""

    here: bool
    """The release is on the instance, and its process runs or will be started again."""
    started_at: float | None
    """Since 1970, by the instance's clock; None while it does not run."""
    restarts: int


class Record(msgspec.Struct, frozen=True):
    """What is remembered of one instance while it serves one release."""

    seen_at: float
    ill_since: float | None = None
    """The balancer has found it unhealthy at each look since then."""
    gone_since: float | None = None
    """So long it has been unhealthy, and its agent says that the release is gone."""
    deaths: int = 0
    told: Told | None = None
    told_at: float = float("-inf")


class Terms(msgspec.Struct, frozen=True):
    """What a release is entitled to, by its settings."""

    start: float
    """StartTimeout."""
    check: float
    """How long the health check needs to find an instance unhealthy, and well again."""
    passed_at: float


class Verdict(msgspec.Struct, frozen=True):
    """Why a release is bad; each instance is named once."""

    dying: tuple[str, ...]
    ill: tuple[str, ...]
    refusing: tuple[str, ...] = ()

    def words(self) -> str:
        reasons = [f"the health check fails on {', '.join(self.ill)}"] if self.ill else []
        reasons += [f"it could not be brought back on {', '.join(self.refusing)}"] if self.refusing else []
        reasons += [f"its web process died {DEATHS} times or more on {', '.join(self.dying)}"] if self.dying else []
        return "; ".join(reasons)


def follow(
    before: Record | None, now: float, healthy: bool | None, told: Told | None, *, passed_at: float = float("inf")
) -> Record:
    """The record after one more look. `healthy` None: the balancer did not say; `told` None: the agent did not.

    `passed_at`: when the release passed. What died between that and the first word of its agent died once at least.
    """
    if before is None or now - before.seen_at > GAP:
        before = Record(now, deaths=before.deaths if before else 0, told=before.told if before else None)
    ill_since = (before.ill_since if before.ill_since is not None else now) if healthy is False else None
    gone_since = before.gone_since if ill_since is not None else None
    if told is None:
        return msgspec.structs.replace(before, seen_at=now, ill_since=ill_since, gone_since=gone_since)
    if told.here or ill_since is None:
        gone_since = None
    elif gone_since is None:
        gone_since = now
    if before.told is not None:
        # An operation, or a start of the machine, counts from 0 again.
        died = max(told.restarts - before.told.restarts, 0)
    else:
        died = int(told.restarts > 0 and (told.started_at is None or told.started_at > passed_at))
    return Record(now, ill_since, gone_since, before.deaths + died, told, now)


def judge(records: Mapping[str, Record], terms: Terms, now: float, refusing: Collection[str] = ()) -> Verdict | None:
    """`records`: of the instances that serve the release and are in rotation; `refusing`: those to which it could not
    be brought back. None: nothing speaks against it.
    """
    dying = tuple(sorted(name for name, record in records.items() if record.deaths >= DEATHS))
    ill = {name: _ill_for(record, now) for name, record in records.items()}
    overdue = {name for name, seconds in ill.items() if seconds > terms.start + terms.check}
    settled = {name for name, seconds in ill.items() if seconds >= SETTLED and not _starts(records[name], terms, now)}
    if len({*settled, *refusing}) * 2 < len({*records, *refusing}):
        settled, refusing = set(), ()
    sick = tuple(sorted((overdue | settled) - {*dying, *refusing}))
    return Verdict(dying, sick, tuple(sorted(refusing))) if dying or sick or refusing else None


def lost(record: Record) -> bool:
    """The release does not run on the instance and never will by itself: it has to be brought again."""
    return record.gone_since is not None and record.told_at - record.gone_since >= GONE


def _ill_for(record: Record, now: float) -> float:
    """Seconds; 0 where it is well, or the illness is no testimony against the release."""
    heard = record.told is not None and record.told.here and now - record.told_at <= FRESH
    return now - record.ill_since if heard and record.ill_since is not None else 0.0


def _starts(record: Record, terms: Terms, now: float) -> bool:
    """Whether a start is under way that may be waited for."""
    began = record.told.started_at if record.told is not None else None
    return began is None or (began > terms.passed_at and now - began < terms.start)
