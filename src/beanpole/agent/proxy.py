"""Keeps one Envoy serving: starts it, starts it again when it dies, replaces it without losing a request.

What it was last asked to run is on disk, so it goes on after the agent was killed: living processes are adopted, a dead
one is started again. Those that were replaced finish their requests in the background.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import durable
from .admin import AdminError
from .events import EventLog
from .generation import TERM_SECONDS, Generation, Setup
from .http import HttpError
from .kernel import this_kernel
from .port import Port
from .retirement import Retirement
from .steering import Steering
from .xds import Xds

START_SECONDS = (
    70.0  # for a new process to serve: 0.2 s, and as long as the first health check of a hung endpoint takes
)
LIVE_SECONDS = 20.0  # for whoever needs an Envoy that is just being started again
RETIRE_SECONDS = 600.0  # for the requests of a replaced process
FREE_DEATHS = 5  # deaths within DEATHS_SECONDS after which a restart is no longer immediate
DEATHS_SECONDS = 60.0
BACKOFF_LIMIT = 30.0
ACCEPTS_PER_LIVE = 10  # looks at the port for one at the admin socket
START_POLL_SECONDS = 0.005  # the gap that is measured is some 200 ms
OVERLAP_SECONDS = 0.5  # both take connections: the new one's workers surely do before the old one stops


class Proxy:
    """The Envoy of that home. Use it from one event loop."""

    def __init__(self, home: Path, events: EventLog, xds: Xds) -> None:
        self._home = home
        self._xds = xds
        self._events = events
        self._kernel = this_kernel()
        self._setup: Optional[Setup] = None
        self._port: Optional[Port] = None
        self._last = 0
        self._current: Optional[Generation] = None
        self._retired: Dict[int, float] = {}  # number → until when (Unix seconds)
        self._retiring: Dict[int, Retirement] = {}
        self._deaths: List[float] = []
        self._tasks: "Dict[str, asyncio.Task[None]]" = {}

    def adopt(self) -> bool:
        """Takes up what an earlier agent ran. True when an Envoy of it still serves."""
        record = durable.read_json(self._home / "envoy.json")
        if record is None:
            return False
        self._setup, self._port = Setup(**record["setup"]), Port(**record["port"])
        self._last = max([record["last"], *Generation.numbers(self._home)])
        self._retired = {int(number): until for number, until in record["retired"].items()}
        # The oldest that was not replaced: a newer one beside it comes from a replacement that was not completed.
        for number in reversed(Generation.numbers(self._home)):
            generation = Generation.adopt(self._home, number, self._kernel)
            if generation is None:
                Generation.remove_folder(self._home, number)
            elif self._current is None and number not in self._retired:
                self._current = generation
            else:
                self._retire(generation)
        return self._current is not None

    def resume(self) -> None:
        """Goes on keeping what `adopt` took up; starts it again when it is dead."""
        if self._setup is None:
            return
        if self._current is None:
            self._events.add("WARN", "Envoy was not running when the agent started; starting it")
            self._launch()
        self._keep()

    async def stop(self, processes: bool) -> None:
        """Stops watching; with `processes` every Envoy ends, cutting whatever it still serves."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        for generation in self.generations():
            if processes:
                await generation.process.stop(TERM_SECONDS)
            generation.process.release()

    async def ensure(self, setup: Setup, port: Port) -> Dict[str, Any]:
        """Envoy runs with that setup when this returns; HttpError 409 with the reason otherwise.

        A running one whose setup differs is replaced without loss. The port must be free when nothing of ours uses it.
        """
        moved = self._port is not None and port.number != self._port.number
        if moved or not self.generations():
            port.check_free()
        if self._current is None:
            self._setup, self._port = setup, port
            await self._first()
            return self.answer("started")
        self._port = port
        if setup != self._setup:
            return await self.replace(setup)
        self._record()
        await self.live()
        return self.answer("running")

    async def replace(self, setup: Optional[Setup] = None) -> Dict[str, Any]:
        """A new process takes over, the old one finishes its requests. After an HttpError the old one serves on."""
        for retirement in list(self._retiring.values()):
            await retirement.closed.wait()  # so that only the old and the new process share the port
        old, before = self._current, self._setup
        if old is None or before is None:
            raise HttpError(409, "there is no Envoy to replace", remedy="PUT /envoy first.")
        self._setup = setup or Setup.of(before.binary, before.bootstrap)
        self._stop_keeping()
        try:
            new = self._launch()
            await self._until_live(new)
            await self._until_same(new)
        except (HttpError, AdminError, OSError) as error:
            await self._undo(old, before)
            if isinstance(error, HttpError):
                raise
            raise HttpError(409, f"the new Envoy is not usable, the old one serves on: {error}") from error
        except BaseException:
            await self._undo(old, before)
            raise
        await asyncio.sleep(OVERLAP_SECONDS)
        self._retire(old, await self._steer(old))
        self._keep()
        self._events.add("INFO", f"Envoy {old.process.identity.pid} was replaced by {new.process.identity.pid}")
        return self.answer("replaced")

    async def live(self) -> Generation:
        """The Envoy that serves, once it does. HttpError 409 when there is none, or not within LIVE_SECONDS."""
        if self._current is None:
            raise HttpError(409, "no Envoy was asked for yet", remedy="PUT /envoy first.")
        limit = time.monotonic() + LIVE_SECONDS
        # Again and again, because it may die and be followed by another meanwhile.
        while not (self._current.process.alive and await self._current.admin.live()):
            if time.monotonic() > limit:
                raise _not_live(self._current, f"does not serve after {LIVE_SECONDS:.0f} s")
            await asyncio.sleep(START_POLL_SECONDS * 4)
        return self._current

    def generations(self) -> List[Generation]:
        """All that live, the one that serves first."""
        found = [self._current] if self._current is not None else []
        found += [retirement.generation for retirement in self._retiring.values()]
        return [generation for generation in found if generation.process.alive]

    @property
    def current(self) -> Optional[Generation]:
        return self._current

    def answer(self, outcome: str = "running") -> Dict[str, Any]:
        current = self._current
        return {
            "outcome": outcome,
            "pid": current.process.identity.pid if current else None,
            "generation": current.number if current else None,
            "draining": sorted(self._retiring),
        }

    async def _first(self) -> None:
        try:
            await self._until_live(self._launch())
        except BaseException:
            failed, self._current, self._setup = self._current, None, None
            if failed is not None:
                await failed.process.stop(TERM_SECONDS)
            (self._home / "envoy.json").unlink(missing_ok=True)
            raise
        self._keep()

    def _launch(self) -> Generation:
        """A new process becomes the current one; nothing is waited for, so nothing is left half done."""
        if self._setup is None:
            raise HttpError(409, "no Envoy was asked for yet", remedy="PUT /envoy first.")
        self._last += 1
        self._record()  # first, so that the number is never used again
        self._current = Generation.start(self._home, self._last, self._setup, self._kernel)
        return self._current

    async def _undo(self, old: Generation, setup: Setup) -> None:
        """The old process serves on as if nothing had been tried."""
        failed, self._current, self._setup = self._current, old, setup
        if failed is not None and failed is not old:
            if failed.process.alive:
                self._retire(failed)  # it may have taken connections already
            else:
                failed.remove(self._home)
        self._record()
        self._keep()

    async def _until_live(self, generation: Generation) -> None:
        limit = time.monotonic() + START_SECONDS
        while not await generation.admin.live():
            if not generation.process.alive:
                raise _not_live(generation, "ended at once")
            if time.monotonic() > limit:
                raise _not_live(generation, f"does not serve after {START_SECONDS:.0f} s")
            await asyncio.sleep(START_POLL_SECONDS)

    async def _until_same(self, new: Generation) -> None:
        """The new process has applied every file: one that serves less must not take over."""
        limit = time.monotonic() + START_SECONDS
        while True:
            lagging = await self._xds.lagging(new.admin)
            if not lagging:
                return
            if time.monotonic() > limit or not new.process.alive:
                raise AdminError(f"it did not apply {', '.join(lagging[:5])}: {' '.join(new.last_lines(2))}")
            await asyncio.sleep(START_POLL_SECONDS * 4)

    def _record(self) -> None:
        if self._setup is None or self._port is None:
            return
        durable.write_json(
            self._home / "envoy.json",
            {"setup": vars(self._setup), "port": vars(self._port), "last": self._last, "retired": self._retired},
        )

    def _keep(self) -> None:
        self._stop_keeping()
        self._tasks["keep"] = asyncio.get_running_loop().create_task(self._keeping())

    def _stop_keeping(self) -> None:
        task = self._tasks.pop("keep", None)
        if task is not None:
            task.cancel()

    async def _keeping(self) -> None:
        while self._current is not None:
            died = self._current
            await died.process.ended.wait()
            noticed = time.monotonic()
            try:
                await self._again(died, noticed)
            except (OSError, HttpError, AdminError) as error:
                self._events.add("ERROR", f"Envoy cannot be started again: {error}")
                await asyncio.sleep(BACKOFF_LIMIT)

    async def _again(self, died: Generation, noticed: float) -> None:
        words = died.process.exit.words if died.process.exit is not None else "unknown"
        detail: Dict[str, Any] = {"pid": died.process.identity.pid, "exit": words, "last_lines": died.last_lines()}
        self._deaths = [at for at in self._deaths if at > noticed - DEATHS_SECONDS] + [noticed]
        excess = len(self._deaths) - FREE_DEATHS
        delay = min(2.0 ** (excess - 1), BACKOFF_LIMIT) if excess > 0 else 0.0
        if delay:
            self._events.add(
                "ERROR", f"Envoy died {len(self._deaths)} times within a minute; next start in {delay:.0f} s", detail
            )
            await asyncio.sleep(delay)
        new = self._launch()
        taken = await self._until_taken(new)
        gap = round(1000 * (time.monotonic() - noticed), 1)
        died.remove(self._home)
        if not new.process.alive:
            return  # the next round finds it dead, counts that and reports it
        message = f"Envoy ended ({words}) and was started again; no connection was taken for {gap:.0f} ms"
        if not taken:
            message = f"Envoy ended ({words}) and was started again, but does not listen: {' '.join(new.last_lines(1))}"
        self._events.add("ERROR", message, {**detail, "new_pid": new.process.identity.pid, "gap_ms": gap})

    async def _until_taken(self, new: Generation) -> bool:
        """Waits until connections are taken; False when it is dead, or serves without a listener."""
        limit = time.monotonic() + START_SECONDS
        while self._port is not None and new.process.alive and time.monotonic() < limit:
            for _ in range(ACCEPTS_PER_LIVE):
                if await self._port.accepts():
                    return True
                await asyncio.sleep(START_POLL_SECONDS)
            if await new.admin.live():
                return await self._port.accepts()
        return False

    def _retire(self, generation: Generation, steering: Optional[Steering] = None) -> None:
        until = self._retired.setdefault(generation.number, time.time() + RETIRE_SECONDS)
        self._record()
        retirement = Retirement(self._home, self._events, generation, until)
        self._retiring[generation.number] = retirement
        task = asyncio.get_running_loop().create_task(self._retirement(retirement, steering))
        self._tasks[f"retire-{generation.number}"] = task

    async def _retirement(self, retirement: Retirement, steering: Optional[Steering]) -> None:
        number = retirement.generation.number
        try:
            await retirement.run(steering)
        except OSError as error:
            self._events.add("ERROR", f"a replaced Envoy could not be ended: {error}")
        self._retiring.pop(number, None)
        self._retired.pop(number, None)
        self._tasks.pop(f"retire-{number}", None)
        self._record()

    async def _steer(self, old: Generation) -> Optional[Steering]:
        """Leads new connections to the new process, where the system can do that and the old one still listens."""
        if self._port is None or not old.process.alive:
            return None
        try:
            steering = Steering(self._port, await old.workers())
            return steering if steering.start() else None
        except (AdminError, OSError) as error:
            self._events.add("DEBUG", f"new connections are not steered: {error}")
            return None


def _not_live(generation: Generation, how: str) -> HttpError:
    lines = generation.last_lines()
    return HttpError(
        409,
        f"Envoy {how}: {lines[-1] if lines else 'it wrote nothing'}",
        last_lines=lines,
        remedy="See its log in the log folder. An Envoy needs glibc 2.31 or newer; ENVOY_BIN may name another one.",
    )
