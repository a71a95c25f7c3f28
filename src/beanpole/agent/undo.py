"""The way back from a stop-first start: without a verdict in time the agent runs the old release again by itself.

Armed, on disk, before the old release is stopped; a commit, or a start of the old release, is the verdict.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Dict, Optional

from . import durable
from .entry import Entry
from .events import EventLog
from .failure import JobFailure
from .release import Releases
from .supervisor import Supervisor

GRACE_SECONDS = 10.0  # for the release that got no verdict


class Undo:
    """At most one way back, in undo.json."""

    def __init__(self, home: Path, supervisor: Supervisor, releases: Releases, events: EventLog, boot: str) -> None:
        self._path = home / "undo.json"
        self._supervisor = supervisor
        self._releases = releases
        self._events = events
        self._boot = boot
        self._timer: Optional["asyncio.Task[None]"] = None
        self._pending: Optional[Dict[str, Any]] = durable.read_json(self._path)

    def pending(self) -> Optional[Dict[str, Any]]:
        """{"old", "new", "port", "until"}, or None."""
        return self._pending

    def arm(self, old: Entry, new: str, seconds: float) -> None:
        """From now on the old release returns unless a verdict comes within that time."""
        release, port = old.release, old.port
        if self._pending is not None and self._pending["new"] == release:
            # The one whose place is taken had no verdict itself: what returns is what was there before it.
            release, port = str(self._pending["old"]), self._pending["port"]
        pending = {"old": release, "new": new, "port": port, "until": time.time() + seconds, "boot": self._boot}
        durable.write_json(self._path, pending)
        self._pending = pending
        self._wait()

    def clear(self) -> None:
        """The verdict has come."""
        self.close()
        self._pending = None
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Waits no longer; the next agent does."""
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._timer = None

    async def resume(self) -> None:
        """After the agent's start: waits on, or goes back at once when neither release runs."""
        if self._pending is None:
            return
        web = self._supervisor.find(self._pending["new"], "web")
        if self._pending["boot"] != self._boot:
            self.clear()  # the machine was started anew, with the boot target
        elif web is None or not web.alive:
            await self.go_back("its start was interrupted")
        else:
            self._wait()

    async def go_back(self, why: str) -> Optional[str]:
        """Stops the new release and starts the old one again. Its digest, or None when there is no way back."""
        pending = self._pending
        if pending is None:
            return None
        old, new = str(pending["old"]), str(pending["new"])
        for entry in self._supervisor.running(new):
            await self._supervisor.stop(entry, GRACE_SECONDS)
        release = self._releases.find(old)
        port = pending["port"]
        if port is not None and not self._supervisor.reserve(port):
            port = None
        try:
            for name in release.names if release is not None else ():
                await self._supervisor.start(old, name, port if name == "web" else None, proven=True)
        except (OSError, JobFailure) as error:
            self._events.add("ERROR", f"Release {old} cannot be started again: {error}", {"release": old})
            return None
        self._events.add("WARN", f"Release {old} runs again instead of {new}: {why}", {"release": old, "left": new})
        self.clear()
        return old

    def _wait(self) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().create_task(self._expire())

    async def _expire(self) -> None:
        if self._pending is not None:
            await asyncio.sleep(max(0.0, self._pending["until"] - time.time()))
            await self.go_back("no verdict came in time")
