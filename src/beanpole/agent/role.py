"""The role `instance`: what the API of an agent beside a workload offers, and what it does by itself."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from .activation import start
from .events import EventLog
from .fetch import again, fetch, prepare
from .fulldisk import REMEDY
from .gate import gate
from .hooks import hooks
from .http import HttpError, Request, Response, Routes
from .instance import Instance
from .jobs import Authority, Jobs, Refused
from .layer import layer
from .logs import Logs
from .orphans import end_marked
from .preflight import preflight
from .rotation import rotate_folder
from .sampler import SAMPLE_SECONDS, Sampler
from .smoke import smoke
from .stage import run
from .switch import commit, stop, switch

KINDS = {
    "preflight": preflight,
    "fetch": fetch,
    "again": again,
    "layer": layer,
    "run": run,
    "hooks": hooks,
    "prepare": prepare,
    "start": start,
    "smoke": smoke,
    "gate": gate,
    "switch": switch,
    "commit": commit,
    "stop": stop,
}
WAIT_LIMIT = 60.0  # seconds that one long poll may take; clients ask again
ROTATE_SAMPLES = 3  # samples between looks at the size of logs: every 30 s


class InstanceRole:
    """Jobs, state and logs of one home."""

    def __init__(
        self,
        home: Path,
        address: str,
        events: EventLog,
        authority: Authority,
        report: Callable[[str], None],
        user: Optional[str] = None,
    ) -> None:
        self._home = home
        self._authority = authority
        self._instance = instance = Instance.open(home, address, events, user)
        self._jobs = Jobs(home, instance.prefix, {kind: partial(job, instance) for kind, job in KINDS.items()}, report)
        self._logs = Logs(home / "log")
        self._sampler = Sampler(instance.kernel)
        self._housekeeping: Optional["asyncio.Task[None]"] = None
        self._ending = asyncio.Lock()
        self._short_of_room = False

    async def start(self) -> None:
        """Takes over from an earlier agent; when this returns, what shall run is adopted or being started."""
        instance = self._instance
        await self._rotate()  # first: on a full disk this may make the room that the rest needs
        interrupted = self._jobs.interrupted()
        await end_marked(instance.kernel, interrupted.values())
        await asyncio.to_thread(instance.releases.remove_unfinished)
        await instance.supervisor.load()
        await instance.undo.resume()
        self._housekeeping = asyncio.get_running_loop().create_task(self._keep_house())

    async def stop(self, processes: bool, grace: float) -> None:
        """Before the agent ends: jobs are interrupted; processes go on unless told otherwise. May be called again."""
        # One at a time: to some programs a second SIGTERM says: at once, drop what you do.
        async with self._ending:
            self._instance.closing = True
            if self._housekeeping is not None:
                self._housekeeping.cancel()
            self._instance.undo.close()
            await self._jobs.close()
            await self._instance.supervisor.close(processes, grace)

    def routes(self) -> Routes:
        return {
            ("PUT", "/jobs/*"): self._put_job,
            ("GET", "/jobs/*"): self._get_job,
            ("DELETE", "/jobs/*"): self._cancel_job,
            ("GET", "/state"): self._state,
            ("GET", "/logs"): self._logs.tail,
            ("GET", "/logs/bundle"): self._logs.bundle,
            ("GET", "/logs/follow"): self._logs.follow,
        }

    async def _put_job(self, request: Request) -> Response:
        body = request.json()
        kind, arguments, epoch = body.get("kind"), body.get("arguments", {}), body.get("epoch")
        if kind not in KINDS:
            raise HttpError(400, f"there is no kind of job {kind!r}; known are {', '.join(KINDS)}")
        if not isinstance(arguments, dict) or not isinstance(epoch, int):
            raise HttpError(400, "arguments must be an object and epoch a whole number")
        self._admit(str(body.get("store")), epoch)
        try:
            return _shown(self._jobs.put(request.tail, str(kind), arguments, epoch), request.tail)
        except Refused as refusal:
            raise HttpError(503, str(refusal)) from refusal

    async def _get_job(self, request: Request) -> Response:
        seconds = request.number("wait", 0.0, 0.0, WAIT_LIMIT)
        seen = int(request.number("seen", 0, 0, 2**53)) if "seen" in request.query else None
        return _shown(await self._jobs.wait(request.tail, seconds, seen), request.tail)

    async def _cancel_job(self, request: Request) -> Response:
        if "epoch" in request.query:
            self._admit(request.query.get("store", ""), int(request.number("epoch", 0, 0, 2**53)))
        return _shown(await self._jobs.cancel(request.tail), request.tail)

    def _admit(self, store: str, epoch: int) -> None:
        try:
            self._authority.admit(store, epoch)
        except Refused as refusal:
            raise HttpError(409, str(refusal), epoch=self._authority.epoch, store=self._authority.store) from refusal

    async def _state(self, request: Request) -> Response:
        supervisor, releases = self._instance.supervisor, self._instance.releases
        return Response.of(
            {
                "instance": self._sampler.view(self._home),
                "boot": releases.current,
                "releases": releases.all(),
                "processes": [entry.view(supervisor.resident(entry)) for entry in supervisor.entries()],
            }
        )

    async def _rotate(self) -> None:
        log = self._instance.log
        try:
            cut = await asyncio.to_thread(rotate_folder, self._home / "log")
        except OSError as error:
            log.line(f"Logs cannot be rotated: {error}", "WARN")
            return
        if cut and not self._short_of_room:
            names = ", ".join(path.name for path in cut)
            log.line(f"The disk is full: there was no room to keep the lines of {names}. {REMEDY}", "WARN")
        self._short_of_room = bool(cut)

    async def _keep_house(self) -> None:
        samples = 1
        while True:
            if samples % ROTATE_SAMPLES == 0:
                await self._rotate()
            samples += 1
            await asyncio.sleep(SAMPLE_SECONDS)
            self._sampler.sample()


def _shown(record: Optional[Dict[str, Any]], key: str) -> Response:
    """The record as a client sees it: the mark is between the agent and the kernel."""
    if record is None:
        raise HttpError(404, f"there is no job {key}")
    return Response.of({name: value for name, value in record.items() if name != "mark"})
