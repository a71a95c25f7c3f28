"""The end of an Envoy that was replaced: it takes no new connection, finishes its requests, and ends.

Nothing waits for it; after a bound, whatever is still open is cut and counted.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Optional

from .admin import AdminError
from .events import EventLog
from .generation import DRAIN_SECONDS, TERM_SECONDS, Generation
from .steering import Steering

POLL_SECONDS = 1.0
CLOSED_SECONDS = DRAIN_SECONDS + 1.0  # after which a draining Envoy has closed its listeners


class Retirement:
    """Of that process, until the Unix time `until`. `steering` keeps new connections away from it, if anything does."""

    def __init__(self, home: Path, events: EventLog, generation: Generation, until: float) -> None:
        self._home = home
        self._events = events
        self.generation = generation
        self.until = until
        self.closed = asyncio.Event()  # it takes no connection any more

    async def run(self, steering: Optional[Steering] = None) -> None:
        generation = self.generation
        try:
            await self._close(steering)
            requests = await self._finish()
        finally:
            self.closed.set()
        if generation.process.alive and requests:
            count = str(requests) if requests > 0 else "an unknown number of"
            self._events.add("WARN", f"a replaced Envoy ended with {count} requests open", {"requests": requests})
        await generation.process.stop(TERM_SECONDS)
        generation.remove(self._home)

    async def _close(self, steering: Optional[Steering]) -> None:
        """It closes its listeners. Until then it must not end: connections may wait in their queues."""
        try:
            await self.generation.drain()
            await self.generation.process.wait(CLOSED_SECONDS)
        except AdminError as error:
            self._events.add("WARN", f"a replaced Envoy cannot be drained: {error}")
        finally:
            if steering is not None:
                steering.stop()
            self.closed.set()

    async def _finish(self) -> int:
        """Waits until no client is connected, or until the bound; answers how many requests are open then."""
        requests = 0
        while self.generation.process.alive and time.time() < self.until:
            try:
                connections, requests = await self.generation.traffic()
                if connections == 0:
                    return 0
            except AdminError:
                requests = -1  # busy, or about to end: it is asked again
            await self.generation.process.wait(POLL_SECONDS)
        return requests
