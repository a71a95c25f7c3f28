"""Keeps one Envoy serving: starts it, starts it again when it dies, replaces it without losing a request.

What it was last asked to run is on disk, so it goes on after the agent was killed: living processes are adopted, a dead
one is started again. Those that were replaced finish their requests in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import durable
from .admin import AdminError
from .events import EventLog
from .generation import START_SECONDS, TERM_SECONDS, Generation, Setup
from .http import HttpError
from .keeper import Keeper
from .kernel import this_kernel
from .port import Port
from .retirement import CLOSED_SECONDS, Retirement
from .steering import Steering
from .xds import Xds

LIVE_SECONDS = 20.0  # for whoever needs an Envoy that is just being started again
RETIRE_SECONDS = 600.0  # for the requests of a replaced process
START_POLL_SECONDS = 0.005  # the gap that is measured is some 200 ms
LEAVING_SECONDS = 0.2  # between looks at the connections of one that leaves for good
OVERLAP_SECONDS = 0.5  # both take connections: the new one's workers surely do before the old one stops


class Proxy:
    """The Envoy of that home. `shared`: whether it may listen where somebody else does. Use it from one event loop."""

    def __init__(self, home: Path, events: EventLog, xds: Xds, shared: Callable[[Port], bool]) -> None:
        self._home = home
        self._xds = xds
        self._events = events
        self._kernel = this_kernel()
        self._setup: Optional[Setup] = None
        self._port: Optional[Port] = None
        self._last = 0
        self._current: Optional[Generation] = None
        self._candidate: Optional[Generation] = None  # while it is being found out whether it can take over
        self._retired: Dict[int, float] = {}  # number → until when (Unix seconds)
        self._retiring: Dict[int, Retirement] = {}
        self._shared = shared
        self._keeper = Keeper(home, events, xds, self._relaunch, self._check_free)
        self._tasks: "Dict[str, asyncio.Task[None]]" = {}

    def adopt(self) -> bool:
        """Takes up what an earlier agent ran. True when an Envoy of it still serves."""
        record = durable.read_json(self._home / "envoy.json")
        if record is None:
            for number in Generation.numbers(self._home):  # left by a first start that failed
                Generation.remove_folder(self._home, number)
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
        if self._setup is not None:
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
                with contextlib.suppress(FileNotFoundError):
                    (generation.folder / "admin.sock").unlink()
            generation.process.release()

    async def ensure(self, setup: Setup, port: Port) -> Dict[str, Any]:
        """Envoy runs with that setup when this returns; HttpError 409 with the reason otherwise.

        A running one whose setup differs is replaced without loss. The port must be free when nothing of ours uses it,
        unless it is shared.
        """
        moved = self._port is not None and port.number != self._port.number
        dead = not self.generations()
        self._check_free(port, anew=moved)
        if self._setup is None:
            self._setup, self._port = setup, port
            await self._first()
            return self.answer("started")
        self._port = port
        if setup != self._setup:
            return await self.replace(setup)
        self._record()
        if moved or dead:  # the keeper may be waiting until it tries again
            self._keep()
        await self.live()
        return self.answer("running")

    async def replace(self, setup: Optional[Setup] = None) -> Dict[str, Any]:
        """A new process takes over, the old one finishes its requests. After an HttpError the old one serves on."""
        if self._setup is None:
            raise _nothing_asked()
        for retirement in list(self._retiring.values()):
            await retirement.closed.wait()  # so that only the old and the new process share the port
        setup = setup or Setup.of(self._setup.binary, self._setup.bootstrap)
        self._stop_keeping()
        try:
            self._candidate = self._launch(setup)
            await self._until_live(self._candidate)
            await self._until_same(self._candidate)
        except BaseException as error:
            self._abandon()
            if isinstance(error, (AdminError, OSError)):
                raise HttpError(409, f"the new Envoy is not usable, the old one serves on: {error}") from error
            raise
        await asyncio.sleep(OVERLAP_SECONDS)
        old, self._current, self._candidate, self._setup = self._current, self._candidate, None, setup
        if old is not None:
            self._retire(old, await self._steer(old))
        self._record()
        self._keep()
        self._events.add("INFO", f"Envoy was replaced: process {self.answer()['pid']} serves now")
        return self.answer("replaced")

    async def leave(self, seconds: float) -> None:
        """Envoy takes no new connection, has so long for those that it has, and ends; it is not started again."""
        self._stop_keeping()
        (self._home / "envoy.json").unlink(missing_ok=True)
        limit = time.monotonic() + seconds
        for generation in self.generations():
            await generation.drain()
            await generation.process.wait(CLOSED_SECONDS)
            while generation.process.alive and time.monotonic() < limit and (await generation.traffic())[0]:
                await generation.process.wait(LEAVING_SECONDS)
            await generation.process.stop(TERM_SECONDS)
        self._current, self._setup, self._port = None, None, None

    async def live(self) -> Generation:
        """The Envoy that serves, once it does. HttpError 409 when there is none, or not within LIVE_SECONDS."""
        if self._setup is None:
            raise _nothing_asked()
        limit = time.monotonic() + LIVE_SECONDS
        while True:
            # Again and again, because it may die and be followed by another meanwhile.
            current = self._current
            if current is not None and current.process.alive and await current.admin.live():
                return current
            if time.monotonic() > limit:
                raise _not_live(current, f"does not serve after {LIVE_SECONDS:.0f} s")
            await asyncio.sleep(START_POLL_SECONDS * 4)

    def generations(self) -> List[Generation]:
        """All that live, the one that serves first."""
        retiring = [retirement.generation for retirement in self._retiring.values()]
        known = [self._current, self._candidate, *retiring]
        return [generation for generation in known if generation is not None and generation.process.alive]

    @property
    def candidate(self) -> Optional[Generation]:
        """A process that is being started to take over."""
        return self._candidate

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
            await self._until_live(self._relaunch())
        except BaseException:
            failed, self._current, self._setup = self._current, None, None
            if failed is not None:
                await failed.process.stop(TERM_SECONDS)
            (self._home / "envoy.json").unlink(missing_ok=True)
            raise
        self._keep()

    def _relaunch(self) -> Generation:
        """A new process is the current one. Nothing is waited for, so that nothing is left half done."""
        if self._setup is None:
            raise _nothing_asked()
        self._current = self._launch(self._setup)
        return self._current

    def _launch(self, setup: Setup) -> Generation:
        self._last += 1
        self._record()  # first, so that the number is never used again
        return Generation.start(self._home, self._last, setup, self._kernel)

    def _abandon(self) -> None:
        """The candidate does not take over: the old process serves on as if nothing had been tried."""
        failed, self._candidate = self._candidate, None
        if failed is not None and failed.process.alive:
            self._retire(failed)  # it may have taken connections already
        elif failed is not None:
            failed.remove(self._home)
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

    def _check_free(self, port: Port, anew: bool = False) -> None:
        """HttpError 409 when somebody has the port who does not share it. `anew`: though an Envoy of ours runs."""
        if (anew or not self.generations()) and not self._shared(port):
            port.check_free(self._kernel)

    def _record(self) -> None:
        if self._setup is None or self._port is None:
            return
        durable.write_json(
            self._home / "envoy.json",
            {"setup": vars(self._setup), "port": vars(self._port), "last": self._last, "retired": self._retired},
        )

    def _keep(self) -> None:
        self._stop_keeping()
        if self._port is not None:
            run = self._keeper.run(self._current, self._port)
            self._tasks["keep"] = asyncio.get_running_loop().create_task(run)

    def _stop_keeping(self) -> None:
        task = self._tasks.pop("keep", None)
        if task is not None:
            task.cancel()

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


def _nothing_asked() -> HttpError:
    return HttpError(409, "no Envoy was asked for yet", remedy="PUT /envoy first.")


def _not_live(generation: Optional[Generation], how: str) -> HttpError:
    lines = generation.last_lines() if generation is not None else []
    return HttpError(
        409,
        f"Envoy {how}: {lines[-1] if lines else 'it wrote nothing'}",
        last_lines=lines,
        remedy="See its log in the log folder. An Envoy needs glibc 2.31 or newer; ENVOY_BIN may name another one.",
    )
