"""What agents answer, as values. Answers of another shape are a msgspec.ValidationError."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from beanpole.health.window import Tally

LINES = 3
"""Last lines of a process that are told in an event; the rest is in its log."""

LINE = 200
"""Characters of each."""

LATE = 60.0
"""Seconds after which an event says when it happened: the control plane was away, and tells it only now."""


class CpuTimes(msgspec.Struct, frozen=True):
    """Percent of the time since the agent was asked before."""

    user: float = 0.0
    nice: float = 0.0
    system: float = 0.0
    idle: float = 100.0
    iowait: float = 0.0


class Machine(msgspec.Struct, frozen=True):
    cpu: CpuTimes | None = None
    load: tuple[float, ...] = ()
    """Over 1, 5 and 15 minutes."""


class Exit(msgspec.Struct, frozen=True):
    words: str = ""


class Process(msgspec.Struct, frozen=True):
    release: str
    name: str
    state: str
    restarts: int = 0
    last_exit: Exit | None = None
    rss: int | None = None
    """Bytes of memory that it holds, with all that it started."""


class Report(msgspec.Struct, frozen=True):
    """The state of an instance."""

    instance: Machine = Machine()
    processes: tuple[Process, ...] = ()


class AgentEvent(msgspec.Struct, frozen=True):
    seq: int
    at: float
    severity: str
    message: str
    detail: dict[str, Any] = {}

    def line(self, instance: str, now: float) -> str:
        """Who, what, and the last lines, in one line."""
        said = self.detail.get("last_lines") or ()
        lines = [" ".join(str(line).split())[:LINE] for line in said][-LINES:]
        told = self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."
        last = f" Last lines: {' | '.join(lines)}" if lines else ""
        return f"[Instance: {instance}] {' '.join(told.split())}{_when(self.at, now)}{last}"


class Events(msgspec.Struct, frozen=True):
    events: tuple[AgentEvent, ...] = ()


class SeenEndpoint(msgspec.Struct, frozen=True):
    healthy: bool | None
    """None: it is behind a server's proxy that does not answer."""


class Pools(msgspec.Struct, frozen=True):
    """The balancer's view: by environment id, by `address:port`."""

    pools: dict[str, dict[str, SeenEndpoint]]


class Requests(msgspec.Struct, frozen=True):
    """The balancer's counts: by second, by environment id, by `address:port` (`-` where it asked nobody)."""

    now: int
    """The newest second that is complete; later answers add nothing to it."""
    seconds: dict[str, dict[str, dict[str, Tally]]] = {}


class Answers(msgspec.Struct, frozen=True):
    """What was heard in one cycle. None, or missing: no answer."""

    reports: dict[str, Report]
    """By instance id."""
    pools: Pools | None = None
    requests: Requests | None = None


def _when(at: float, now: float) -> str:
    if now - at < LATE:
        return ""
    return f" It happened at {dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%dT%H:%M:%SZ}."
