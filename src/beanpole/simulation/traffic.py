"""Requests of virtual users: how many went where in each second, how many failed, and how long they took.

Counted as the balancer's agent counts (agent/tally.py): by whole seconds of its own clock, which are never added to
once they were told, with a sample of the latencies. Nothing is drawn by lot before somebody asks, so that a simulation
in which nobody does pays nothing; and what was told once is told to everybody else as well.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.simulation.balancer import Seat
    from beanpole.simulation.world import World

USUAL = 40.0
"""Milliseconds that half of the requests to a release without a flaw take at most."""

SPREAD = 0.5
"""Of the logarithm of latencies, which are spread as those of real services are."""

ERRORS = 0.002
"""The share of requests that fail at a release without a flaw."""

SAMPLES = 10
"""Latencies that are told for each second of an endpoint."""

WHOLE = 1
"""Seconds until the balancer has all lines of a second in its log."""


class _Way(NamedTuple):
    """Where a part of the requests goes from one moment on. `since`: second in which the release began to answer."""

    key: str
    digest: str
    weight: int
    since: float
    well: bool
    until: float
    """When the balancer has found out that nothing answers there."""


class Fared(msgspec.Struct):
    """What requests to one release met in some seconds."""

    requests: int = 0
    failed: int = 0
    latencies: list[int] = []


class Traffic:
    """`rate`: requests a second of all users together."""

    def __init__(self, world: World, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._random = Random(f"traffic/{world.seed}")
        self._ways: list[tuple[float, list[_Way]]] = []
        self._told: dict[int, dict[str, Any]] = {}
        self._fared: dict[int, dict[str, Fared]] = {}
        self._begin = int(world.loop.clock() - world.loop.time())

    def moved(self, seats: Iterator[Seat]) -> None:
        """Requests go elsewhere, or meet something else, from now on."""
        if not self._rate:
            return
        now = self._world.loop.time()
        found = []
        for seat in seats:
            if not seat.serving:
                continue
            web = self._world.edge.web(seat)
            well = web is not None and web.works
            since = web.since if web is not None else self._world.off_since.get(seat.endpoint.instance_id, now)
            until = float("inf") if well else max(since, seat.told_at) + seat.patience
            key = f"{seat.endpoint.address}:{seat.endpoint.port}"
            found.append(_Way(key, seat.endpoint.digest, seat.endpoint.weight, since, well, until))
        self._ways.append((now, found))

    def since(self, after: int) -> dict[str, Any]:
        """As the balancer tells it: complete seconds later than `after`, by its clock."""
        newest = int(self._world.loop.clock()) - WHOLE
        # What nobody asks for is not drawn.
        seconds = {
            str(second): {self._world.environment: self._second(second)}
            for second in range(max(after, self._begin) + 1, newest + 1)
        }
        return {"now": newest, "seconds": seconds, "totals": {}, "unreadable": 0}

    def fared(self, digest: str, begin: float, end: float) -> tuple[Fared, Fared]:
        """Requests to that release, and those to all others, between these times of the loop."""
        mine, others = Fared(latencies=[]), Fared(latencies=[])
        for second in range(self._begin + math.ceil(begin), self._begin + int(end)):
            self._second(second)
            for name, each in self._fared.get(second, {}).items():
                into = mine if name == digest else others
                into.requests += each.requests
                into.failed += each.failed
                into.latencies += each.latencies
        return mine, others

    def _second(self, second: int) -> dict[str, Any]:
        """The same whoever asks."""
        known = self._told.get(second)
        if known is None:
            known = self._told[second] = self._drawn(second)
        return known

    def _drawn(self, second: int) -> dict[str, Any]:
        at = second - self._begin + 0.5
        ways = [way for way in self._at(at) if at < way.until]
        whole = sum(way.weight for way in ways)
        found: dict[str, Any] = {}
        for way in ways:
            expected = self._rate * way.weight / whole
            number = int(expected + self._random.random())
            if not number:
                continue
            tally, latencies = self._requests(way, number, at)
            found[way.key] = tally | {"latency_ms": latencies}
            fared = self._fared.setdefault(second, {}).setdefault(way.digest, Fared(latencies=[]))
            fared.requests += number
            fared.failed += tally["failed"]
            fared.latencies += latencies
        return found

    def _requests(self, way: _Way, number: int, at: float) -> tuple[dict[str, int], list[int]]:
        if not way.well:
            return {"5xx": number, "failed": number}, []
        version = self._world.version(way.digest)
        worse = at - way.since >= version.worse_after
        errors = ERRORS + version.errors * worse
        usual = USUAL * (version.slowness if worse else 1.0)
        failed = sum(self._random.random() < errors for _ in range(number))
        draw = self._random.lognormvariate
        latencies = [int(usual * draw(0.0, SPREAD)) for _ in range(min(number, SAMPLES))]
        return {"2xx": number - failed, "5xx": failed, "failed": failed}, latencies

    def _at(self, time: float) -> list[_Way]:
        for begin, ways in reversed(self._ways):
            if begin <= time:
                return ways
        return []
