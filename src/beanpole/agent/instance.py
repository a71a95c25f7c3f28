"""What the jobs of one instance work with, put together in one place."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Optional

from . import durable
from .children import Children
from .command import Commands
from .enginelog import EngineLog
from .events import EventLog
from .jobs import Job
from .kernel import Kernel, this_kernel
from .release import Releases
from .runner import Runner
from .supervisor import Supervisor
from .undo import Undo


@dataclass
class Instance:
    """One home: its releases, its processes, its logs. `closing`: the agent ends, and the next one goes on."""

    home: Path
    address: str
    kernel: Kernel
    events: EventLog
    log: EngineLog
    releases: Releases
    runner: Runner
    supervisor: Supervisor
    undo: Undo
    prefix: str
    closing: bool = False
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def open(cls, home: Path, address: str, events: EventLog, user: Optional[str] = None) -> Instance:
        """Opens a home, whatever state an earlier agent left it in. To be called inside the event loop.

        `user`: processes are systemd units under this system user.
        """
        (home / "log").mkdir(exist_ok=True, mode=0o700)
        kernel, prefix, releases = this_kernel(), _prefix(home), Releases(home)
        runner = _units(home, user, kernel) if user is not None else Children(kernel)
        supervisor = Supervisor(home, prefix, address, kernel, events, releases, runner)
        undo = Undo(home, supervisor, releases, events, kernel.boot)
        log = EngineLog(home / "log" / "engine.log")
        return cls(home, address, kernel, events, log, releases, runner, supervisor, undo, prefix)

    def commands(self, job: Job) -> Commands:
        return Commands(self.kernel, self.log, job.mark)

    def hooks(self, job: Job) -> Commands:
        return Commands(self.kernel, self.hooks_log, job.mark)

    @cached_property
    def hooks_log(self) -> EngineLog:
        """What hooks wrote, under Beanstalk's name for it. Made for the first hook: most applications have none."""
        return EngineLog(self.home / "log" / "eb-hooks.log")

    def disk_free(self) -> int:
        """Bytes that may still be written below the home."""
        status = os.statvfs(self.home)
        return status.f_bavail * status.f_frsize

    def running_web(self) -> int:
        """Bytes of memory that the serving release's web process holds; of the boot target if several run."""
        webs = [entry for entry in self.supervisor.running() if entry.name == "web"]
        webs.sort(key=lambda entry: entry.release == self.releases.current)
        return self.supervisor.resident(webs[-1]) if webs else 0


def _units(home: Path, user: str, kernel: Kernel) -> Runner:
    from .systemd import Systemd  # all here, because most agents have no systemd
    from .unit_files import UnitFiles
    from .unit_text import Site
    from .units import Units

    files = UnitFiles(home, Site(home.name, user, sys.executable))
    return Units(home, user, kernel, files, Systemd())


def _prefix(home: Path) -> str:
    """Begins all marks of this home. Kept, so that no other home of the same path (in a container, say) has it too."""
    path = home / "home.json"
    known: Dict[str, Any] = durable.read_json(path) or {}
    if "id" not in known:
        known["id"] = os.urandom(8).hex()
        durable.write_json(path, known)
    return f"{known['id']}-"
