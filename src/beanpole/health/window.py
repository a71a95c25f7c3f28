"""The last minute of an environment's requests, second by second, out of the balancer's counts.

From it come the figures of the last ten seconds that clients show, and the counts of the last minute that health is
judged by.
"""

from __future__ import annotations

import math

import msgspec

from beanpole.health.rules.facts import Traffic

SHOWN = 10
"""Seconds: clients divide an environment's request count by this number, whatever the answer says."""

JUDGED = 60
"""Seconds of requests that a status depends on."""

BALANCER = ""
"""Stands for an instance where the balancer answered without asking one."""

UNKNOWN = "?"
"""Stands for an instance that is not known any more."""

PERCENTILES = (
    ("P999", 0.999),
    ("P99", 0.99),
    ("P95", 0.95),
    ("P90", 0.9),
    ("P85", 0.85),
    ("P75", 0.75),
    ("P50", 0.5),
    ("P10", 0.1),
)


class Tally(msgspec.Struct, rename={"s2xx": "2xx", "s3xx": "3xx", "s4xx": "4xx", "s5xx": "5xx"}):
    """Answers by the class of their status, and how long a fair sample of them took (milliseconds).

    `failed` are those with 5xx and those that were cut off, as the balancer's agent counts them.
    """

    s2xx: int = 0
    s3xx: int = 0
    s4xx: int = 0
    s5xx: int = 0
    failed: int = 0
    latency_ms: list[int] = []

    def add(self, other: Tally) -> None:
        self.s2xx += other.s2xx
        self.s3xx += other.s3xx
        self.s4xx += other.s4xx
        self.s5xx += other.s5xx
        self.failed += other.failed

    @property
    def requests(self) -> int:
        return self.s2xx + self.s3xx + self.s4xx + self.s5xx

    def traffic(self) -> Traffic:
        return Traffic(self.requests, self.s4xx, self.s5xx, max(self.failed - self.s5xx, 0))


class Metrics(msgspec.Struct, frozen=True):
    """Requests of SHOWN seconds: counts, and percentiles of their latency in seconds (none without requests)."""

    requests: int = 0
    s2xx: int = 0
    s3xx: int = 0
    s4xx: int = 0
    s5xx: int = 0
    latency: tuple[tuple[str, float], ...] = ()


class Minute(msgspec.Struct, frozen=True):
    """What a window shows: of each instance that had requests, and of all."""

    instances: dict[str, Traffic]
    application: Traffic
    balancer: Traffic


class Window:
    """One environment's counts. Not for use from several threads."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[str, Tally]] = {}

    def add(self, second: int, instance: str, tally: Tally) -> None:
        """Counts of one second. Several endpoints of an instance are added up."""
        instances = self._seconds.setdefault(second, {})
        known = instances.get(instance)
        if known is None:
            instances[instance] = tally
        else:
            known.add(tally)
            known.latency_ms = known.latency_ms + tally.latency_ms

    def forget(self, newest: int) -> None:
        """Drop what no question up from now can be about. `newest`: the last complete second."""
        for second in [second for second in self._seconds if second <= newest - JUDGED]:
            del self._seconds[second]

    def minute(self, newest: int) -> Minute:
        found = self._sum(newest - JUDGED, newest)
        everything, answered = Tally(), Tally()
        for instance, tally in found.items():
            everything.add(tally)
            if instance != BALANCER:
                answered.add(tally)
        instances = {instance: tally.traffic() for instance, tally in found.items()}
        return Minute(instances, answered.traffic(), everything.traffic())

    def shown(self, newest: int) -> tuple[dict[str, Metrics], Metrics]:
        """Of each instance that had requests, and of all."""
        found = self._sum(newest - SHOWN, newest)
        latencies: dict[str, list[int]] = {}
        for second in range(newest - SHOWN + 1, newest + 1):
            for instance, tally in self._seconds.get(second, {}).items():
                latencies.setdefault(instance, []).extend(tally.latency_ms)
        everything = Tally()
        for tally in found.values():
            everything.add(tally)
        instances = {instance: _metrics(tally, latencies[instance]) for instance, tally in found.items()}
        return instances, _metrics(everything, [each for some in latencies.values() for each in some])

    def _sum(self, after: int, until: int) -> dict[str, Tally]:
        found: dict[str, Tally] = {}
        for second, instances in self._seconds.items():
            if after < second <= until:
                for instance, tally in instances.items():
                    found.setdefault(instance, Tally()).add(tally)
        return found


def _metrics(tally: Tally, latencies: list[int]) -> Metrics:
    return Metrics(tally.requests, tally.s2xx, tally.s3xx, tally.s4xx, tally.s5xx, percentiles(latencies))


def percentiles(latencies: list[int]) -> tuple[tuple[str, float], ...]:
    """Plain percentiles (the value at that rank) in seconds, exact to the millisecond."""
    if not latencies:
        return ()
    ordered = sorted(latencies)
    ranks = ((name, max(math.ceil(share * len(ordered)), 1)) for name, share in PERCENTILES)
    return tuple((name, ordered[rank - 1] / 1000) for name, rank in ranks)
