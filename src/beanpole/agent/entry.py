"""One process of one release as the agent keeps it in mind, and on disk in processes.json."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Dict, Optional

from .kernel import Identity
from .process import Process

STARTING, RUNNING, BACKOFF, STOPPED = "starting", "running", "backoff", "stopped"
HALTED = "halted"  # an administrator stopped its unit: it stays so until the next deployment or `systemctl start`
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0  # seconds before a died process is started again
STEADY_SECONDS = 60.0  # up for so long, and the next death counts as a first one


@dataclass
class Entry:
    """`wanted`: it shall run. `proven`: it once passed its checks, so it is started again whenever it dies."""

    release: str
    name: str
    mark: str = ""
    wanted: bool = False
    proven: bool = False
    port: Optional[int] = None
    address: Optional[str] = None
    identity: Optional[Identity] = None
    started_at: Optional[float] = None
    restarts: int = 0
    last_exit: Optional[Dict[str, Any]] = None
    log_offset: int = 0
    """Where in its log file the present run began."""
    oom_base: Optional[int] = None
    """The OOM score to go back to when the release is committed; None: it was not raised."""
    halted: bool = False
    state: str = STOPPED
    process: Optional[Process] = field(default=None, repr=False)
    guard: Optional["asyncio.Task[None]"] = field(default=None, repr=False)
    failures: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)
    """Held while it is being started or ended, which takes its time where systemd does it."""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def next_delay(self, uptime: float) -> float:
        """Seconds until it is started again, after it was up for that many."""
        if uptime >= STEADY_SECONDS:
            self.failures = 0
        delay = min(FIRST_DELAY * 2.0**self.failures, LONGEST_DELAY)
        self.failures = min(self.failures + 1, 16)
        return delay

    def record(self) -> Dict[str, Any]:
        """What the next agent must know."""
        identity = self.identity
        return {
            "release": self.release,
            "name": self.name,
            "mark": self.mark,
            "wanted": self.wanted,
            "proven": self.proven,
            "port": self.port,
            "address": self.address,
            "identity": [identity.pid, identity.started, identity.boot] if identity is not None else None,
            "started_at": self.started_at,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "log_offset": self.log_offset,
            "oom_base": self.oom_base,
            "halted": self.halted,
        }

    @classmethod
    def of(cls, record: Dict[str, Any]) -> Entry:
        identity = record["identity"]
        return cls(**{**record, "identity": Identity(*identity) if identity is not None else None})

    def view(self, rss: int) -> Dict[str, Any]:
        """What GET /state tells."""
        return {
            "release": self.release,
            "name": self.name,
            "pid": self.identity.pid if self.identity is not None and self.alive else None,
            "port": self.port,
            "address": self.address,
            "state": self.state,
            "restarts": self.restarts,
            "started_at": self.started_at,
            "rss": rss,
            "last_exit": self.last_exit,
        }
