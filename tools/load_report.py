"""What happened under load, as numbers and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    """One request that failed, `at` seconds after the load began."""

    at: float
    kind: str
    request: str


@dataclass
class Seen:
    """Answers of one version: the first and last one in seconds after the load began, and how many."""

    first: float
    last: float
    count: int = 1


@dataclass
class Report:
    """What happened. Latencies in milliseconds, of ordinary requests that succeeded, from the moment each was due.

    `sent` counts ordinary, slow and idle requests and the websocket's opening (answered, and failed as well, if it is
    cut later). `late_ms` is by how much the generator itself was late at worst: above 50 ms do not trust the latencies.
    `reconnected` counts kept-alive connections that the server had closed, noticed before anything was sent.
    """

    started_at: float
    seconds: float = 0.0
    sent: int = 0
    answered: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    versions: dict[str, Seen] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    late_ms: float = 0.0
    connections: int = 0
    reconnected: int = 0
    echoes: int = 0

    def json(self) -> dict[str, Any]:
        return asdict(self)
