"""Requests counted per second, pool and endpoint, from the lines of Envoy's access log. No files, no clock.

`failed` counts what the balancer or the application got wrong: answers with a status of 500 or above, and answers that
were cut off after their head. A client that went away or spoke nonsense (flags DC, DR, DPE) failed by itself and does
not count; nor does a websocket (status 101), whose end the log cannot tell from a cut. `requests` counts everything.

On a server, requests that came through the edge count there: what was repeated elsewhere did not fail. Here they are in
the detail of the endpoint that had them, and not in the totals.
"""

from __future__ import annotations

import calendar
import json
import time
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Tuple

RING_SECONDS = 180  # of detail that is kept
FILES_SUFFIX = ".files"  # of a pool's file servers: who asks for a file asks the pool
CANARY_SUFFIX = ".canary"  # of those of a pool's endpoints that testers choose: these are requests to the pool, too
CHECKS = "readiness"  # the route of checks by whoever stands in front, which are nobody's requests
SAMPLES = 200  # latencies kept per second, pool and endpoint: beyond, every second, fourth, … request
# The upstream closed or reset, was not understood or too slow; Envoy or a time-out ended the answer.
CUT_FLAGS = frozenset(["UC", "UR", "UPE", "UT", "LR", "SI", "DT", "UMSDR"])
CLIENT_FLAGS = frozenset(["DC", "DR", "DPE"])
_CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_SWITCHED = 101


@dataclass
class Tally:
    """One second of one endpoint. Latencies in ms to the last byte, a fair sample of many; no websockets."""

    counts: Dict[str, int] = field(default_factory=lambda: dict.fromkeys(("2xx", "3xx", "4xx", "5xx", "failed"), 0))
    latencies: List[int] = field(default_factory=list)
    _every: int = 1
    _seen: int = 0

    def add(self, status: int, failed: bool, milliseconds: int) -> None:
        kind = _CLASSES.get(status // 100)
        if kind is not None:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        self.counts["failed"] += failed
        if status == _SWITCHED:
            return
        if self._seen % self._every == 0:
            self.latencies.append(milliseconds)
        self._seen += 1
        if len(self.latencies) >= SAMPLES:
            self.latencies = self.latencies[::2]
            self._every *= 2

    def record(self) -> Dict[str, Any]:
        return {**self.counts, "latency_ms": self.latencies}


class Tallies:
    """The last seconds in detail, and totals for ever.

    Seconds up to `complete` are never added to again: a line that arrives later counts in the second after, so that
    whoever asks for what is new misses nothing and counts nothing twice.
    """

    def __init__(self) -> None:
        self.complete = 0
        self.totals: Dict[str, Dict[str, int]] = {}
        self.unreadable = 0
        self._seconds: Dict[int, Dict[str, Dict[str, Tally]]] = {}
        self._epochs: Dict[str, int] = {}

    def add(self, lines: Iterable[bytes]) -> None:
        """Counts lines of the access log."""
        for line in lines:
            try:
                self._add(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                self.unreadable += 1  # torn by a crash, or of another format

    def remember(self, lines: Iterable[bytes], since: int) -> None:
        """Takes the detail of lines that ended at or after that second, whose totals are counted already."""
        totals, unreadable = self.totals, self.unreadable
        self.totals = {}
        self.add(line for line in lines if self._ended_after(line, since))
        self.totals, self.unreadable = totals, unreadable

    def finish(self, second: int) -> None:
        """That second and all before it are complete; those older than the ring are forgotten."""
        self.complete = max(self.complete, second)
        for old in [known for known in self._seconds if known <= self.complete - RING_SECONDS]:
            del self._seconds[old]

    def since(self, after: int) -> Dict[str, Any]:
        """Complete seconds later than `after`: {"now": the newest complete one, "seconds", "totals", "unreadable"}."""
        seconds = {
            str(second): {
                pool: {endpoint: tally.record() for endpoint, tally in endpoints.items()}
                for pool, endpoints in pools.items()
            }
            for second, pools in sorted(self._seconds.items())
            if after < second <= self.complete
        }
        return {"now": self.complete, "seconds": seconds, "totals": self.totals, "unreadable": self.unreadable}

    def _add(self, entry: Dict[str, Any]) -> None:
        if entry.get("route") == CHECKS:
            return
        status, milliseconds = int(entry["status"]), int(entry["ms"])
        pool, endpoint = entry.get("pool") or "-", entry.get("upstream") or "-"
        for suffix in (FILES_SUFFIX, CANARY_SUFFIX):
            if pool.endswith(suffix):
                pool = pool[: -len(suffix)]
        elsewhere = entry.get("front") is not None
        if elsewhere and endpoint == "-":
            return
        failed = is_failed(status, entry.get("flags") or "-")
        second = max(self._end(entry["time"], milliseconds), self.complete + 1)
        endpoints = self._seconds.setdefault(second, {}).setdefault(pool, {})
        endpoints.setdefault(endpoint, Tally()).add(status, failed, milliseconds)
        if elsewhere:
            return
        totals = self.totals.setdefault(pool, {"requests": 0, "failed": 0})
        totals["requests"] += 1
        totals["failed"] += failed

    def _ended_after(self, line: bytes, since: int) -> bool:
        try:
            entry = json.loads(line)
            return self._end(entry["time"], int(entry["ms"])) >= since
        except (ValueError, TypeError, KeyError):
            return False  # counted as unreadable when it was first read

    def _end(self, start: str, milliseconds: int) -> int:
        """The Unix second in which a request ended, from `2026-11-23T12:00:00.123Z` and its duration."""
        text = start[:19]
        epoch = self._epochs.get(text)
        if epoch is None:
            if len(self._epochs) > RING_SECONDS:
                self._epochs.clear()
            epoch = self._epochs[text] = calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
        return epoch + (int(start[20:23]) + milliseconds) // 1000


def is_failed(status: int, flags: str) -> bool:
    """Whether an answer of that status and Envoy's response flags (`UC,URX`, `-` for none) was a failure of ours."""
    if status == _SWITCHED:
        return False
    found = set(flags.split(","))
    if found & CLIENT_FLAGS and status < 500:
        return False
    return status >= 500 or not found.isdisjoint(CUT_FLAGS)


def lines_of(data: bytes) -> Tuple[List[bytes], int]:
    """The whole lines at the beginning of the data, and how many bytes they are."""
    end = data.rfind(b"\n") + 1
    return data[:end].splitlines(), end
