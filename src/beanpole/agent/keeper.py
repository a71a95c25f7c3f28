"""Starts Envoy again whenever it ends, at once or, when it ends again and again, after a pause; says what that cost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from .admin import AdminError
from .events import EventLog
from .generation import START_SECONDS, Generation
from .http import HttpError
from .port import Port
from .xds import Xds

FREE_DEATHS = 5  # deaths within DEATHS_SECONDS after which a restart is no longer immediate
DEATHS_SECONDS = 60.0
PAUSE_LIMIT = 30.0  # seconds before a further try
POLL_SECONDS = 0.005  # between looks at the port: the gap that is measured is some 100 ms
ACCEPTS_PER_LIVE = 10  # looks at the port for one at the admin socket
APPLY_SECONDS = 5.0  # for a process that takes connections to have applied every file, which it did before


class Keeper:
    """Keeps an Envoy running. `launch` starts the next process; `check`: HttpError when the port is taken."""

    def __init__(
        self,
        home: Path,
        events: EventLog,
        xds: Xds,
        launch: Callable[[], Generation],
        check: Callable[[Port], None],
    ) -> None:
        self._home = home
        self._events = events
        self._xds = xds
        self._launch = launch
        self._check = check
        self._deaths: List[float] = []

    async def run(self, current: Optional[Generation], port: Port) -> None:
        """Never ends. Without `current`, what an earlier agent ran is dead and is started first."""
        while True:
            if current is not None:
                await current.process.ended.wait()
            noticed = time.monotonic()
            try:
                current = await self._again(current, port, noticed)
            except (OSError, HttpError) as error:
                self._events.add("ERROR", f"Envoy cannot be started: {error}; next try in {PAUSE_LIMIT:.0f} s")
                await asyncio.sleep(PAUSE_LIMIT)

    async def _again(self, died: Optional[Generation], port: Port, noticed: float) -> Generation:
        cause, detail = _end_of(died)
        await self._pause(noticed, detail)
        self._check(port)
        new = self._launch()
        taken = await self._taken(new, port)
        gap = round(1000 * (time.monotonic() - noticed), 1)
        lagging = await self._lagging(new) if taken else []
        if died is not None:
            died.remove(self._home)
        if not new.process.alive:
            return new  # it ended while it started: the next round counts and reports that
        outcome = f"no connection was taken for {gap:.0f} ms"
        if not taken:
            outcome = (
                f"it does not listen on {port.words}: {' '.join(new.last_lines(1)) or 'no snapshot was applied yet'}"
            )
        elif lagging:
            outcome = f"it did not apply {', '.join(lagging[:5])}: {' '.join(new.last_lines(1))}"
        more = {"new_pid": new.process.identity.pid, "gap_ms": gap}
        self._events.add("ERROR" if died is not None else "WARN", f"{cause}; {outcome}", {**detail, **more})
        return new

    async def _pause(self, noticed: float, detail: Dict[str, Any]) -> None:
        self._deaths = [at for at in self._deaths if at > noticed - DEATHS_SECONDS] + [noticed]
        excess = len(self._deaths) - FREE_DEATHS
        if excess <= 0:
            return
        pause = min(2.0 ** (excess - 1), PAUSE_LIMIT)
        words = f"Envoy ended {len(self._deaths)} times within a minute; next start in {pause:.0f} s"
        self._events.add("ERROR", words, detail)
        await asyncio.sleep(pause)

    async def _taken(self, new: Generation, port: Port) -> bool:
        """Waits until connections are taken. False when it ended, or serves without a listener."""
        limit = time.monotonic() + START_SECONDS
        while new.process.alive and time.monotonic() < limit:
            for _ in range(ACCEPTS_PER_LIVE):
                if await port.accepts():
                    return True
                await asyncio.sleep(POLL_SECONDS)
            if await new.admin.live():
                return await port.accepts()
        return False

    async def _lagging(self, new: Generation) -> List[str]:
        """Files that it has not applied although it had the time to."""
        limit = time.monotonic() + APPLY_SECONDS
        lagging = ["anything"]
        while lagging and new.process.alive and time.monotonic() < limit:
            try:
                lagging = await self._xds.lagging(new.admin)
            except AdminError as error:
                lagging = [str(error)]
            await asyncio.sleep(POLL_SECONDS)
        return lagging


def _end_of(died: Optional[Generation]) -> "tuple[str, Dict[str, Any]]":
    if died is None:
        return "Envoy was not running when the agent started, and was started again", {}
    words = died.process.exit.words if died.process.exit is not None else "unknown"
    detail = {"pid": died.process.identity.pid, "exit": words, "last_lines": died.last_lines()}
    return f"Envoy ended ({words}) and was started again", detail
