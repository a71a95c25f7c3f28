"""The job `start`: a release's web process runs, listens and passes its health check, or is stopped again.

Normally it starts beside whatever runs. A release that must be alone (`stop_first`) takes the other's place; then the
way back is written down first, and taken by the agent itself when this fails or no verdict comes.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any, Coroutine, Dict, Optional, Sequence, TypeVar

from . import static_process
from .arguments import Arguments
from .entry import Entry
from .failure import JobFailure
from .instance import Instance
from .jobs import Job
from .probe import Answer, Health, first_listening, probe
from .process import Process
from .release import Release
from .remedy import remedy_for
from .reservation import is_free
from .supervisor import LISTENING

STAGE = "start"
LOOK_SECONDS = 0.05  # between looks whether it listens: not noticeable in a deployment, nor in the machine's load
CHECK_SECONDS = 0.25  # between health checks that fail: an application that warms up is not flooded
STOP_SECONDS = 10.0  # for a process that failed to start to end
GRACE = 30.0  # seconds for a release whose place is taken to finish its requests
VERDICT = 600.0  # seconds until a release that took the other's place must be committed

Found = TypeVar("Found")


async def start(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, health, deadline, fixed_port; grace, verdict and stop_first (here and now) if wanted.

    Result: address, port and pid of the process, the seconds until it was ready; port and paths of static files.
    """
    arguments = Arguments(STAGE, job.arguments)
    release = instance.releases.prepared(arguments.text("release"), STAGE)
    if release.command("web") is None:
        raise JobFailure(STAGE, f"release {release.digest} has no process web", "Name it in the Procfile.")
    health, deadline = Health.read(arguments.mapping("health")), arguments.number("deadline")
    before = instance.kernel.oom_kills()
    began = time.monotonic()
    try:
        entry = await _running(instance, arguments, release, job)
        files = await static_process.begin(instance.supervisor, release.digest) if release.static else None
        job.progress(f"waiting until web listens on port {entry.port}")
        startup = _Startup(instance, entry, before)
        address = await startup.ready(health, deadline)
        if files is not None:
            await static_process.ready(instance.supervisor, files)
        await instance.supervisor.prove(entry, address)
        startup.check()
    except BaseException:
        if not instance.closing:
            await asyncio.shield(_undo(instance, release))
        raise
    pending = instance.undo.pending()
    if pending is not None and pending["old"] == release.digest:
        instance.undo.clear()
    seconds = round(time.monotonic() - began, 3)
    return {
        "address": address,
        "port": entry.port,
        "pid": startup.process.identity.pid,
        "seconds": seconds,
        "static": {"port": files.port, "paths": [path for path, _ in release.static]} if files is not None else None,
    }


async def _running(instance: Instance, arguments: Arguments, release: Release, job: Job) -> Entry:
    """The process, started now or found running."""
    supervisor = instance.supervisor
    fixed = arguments.integer_or_none("fixed_port")
    entry = supervisor.find(release.digest, "web")
    if entry is not None and entry.alive and fixed in (None, entry.port):
        return entry
    if entry is not None:
        await supervisor.stop(entry, STOP_SECONDS)
    others = [other for other in supervisor.running() if other.name == "web" and other.release != release.digest]
    if others and (release.stop_first or arguments.flag("stop_first")):
        instance.undo.arm(others[0], release.digest, arguments.number("verdict", VERDICT))
        for other in others:
            job.progress(f"stopping release {other.release}, whose place is taken")
            await supervisor.stop(other, arguments.number("grace", GRACE))
    if fixed is not None:
        _claim(instance, fixed, others)
    instance.log.line(f"Starting web of release {release.digest}: {release.command('web')}")
    try:
        return await supervisor.start(release.digest, "web", fixed, proven=False)
    except OSError as error:
        raise JobFailure(STAGE, f"web cannot be started: {error}", command=release.command("web")) from error


def _claim(instance: Instance, port: int, others: Sequence[Entry]) -> None:
    """Takes a port that the application insists on. JobFailure, saying who has it, when it is not free here.

    A neighbour may insist on the same one at its own address; holding it only keeps it from being chosen by others.
    """
    mine = instance.supervisor.ports.hold(port)
    if is_free(port, instance.address):
        return
    if mine and not any(other.port == port for other in others):
        instance.supervisor.ports.release(port)
    holder = instance.kernel.listener(port)
    who = f"process {holder} ({instance.kernel.command(holder)})" if holder is not None else "another process"
    raise JobFailure(
        STAGE,
        f"port {port}, on which the application insists, is taken by {who}",
        "Let the application listen on the port in the environment variable PORT, or free that port.",
    )


async def _undo(instance: Instance, release: Release) -> None:
    for name in LISTENING:
        entry = instance.supervisor.find(release.digest, name)
        if entry is not None and not entry.proven:
            await instance.supervisor.stop(entry, STOP_SECONDS)
    pending = instance.undo.pending()
    if pending is not None and pending["new"] == release.digest:
        await instance.undo.go_back("the new one could not be started")


class _Startup:
    """Watches one process until it is ready, and says well why it did not become so."""

    def __init__(self, instance: Instance, entry: Entry, oom_kills: int) -> None:
        if entry.process is None or entry.port is None:
            raise JobFailure(STAGE, "web ended at once", last_lines=instance.supervisor.output(entry))
        self.process: Process = entry.process
        self._port = entry.port
        self._instance = instance
        self._entry = entry
        self._began = time.monotonic()  # not earlier: the place of another release may have had to be cleared first
        self._oom_kills = oom_kills

    async def ready(self, health: Health, deadline: float) -> str:
        """The address at which it listens and is healthy. JobFailure when it ends or the deadline (seconds) passes."""
        addresses = list(dict.fromkeys([self._instance.address, "127.0.0.1", "::1"]))
        limit = self._began + deadline
        address: Optional[str] = None
        answer: Optional[Answer] = None
        while True:
            if address is None:
                address = await self._unless_dead(first_listening(addresses, self._port))
            if address is not None:
                answer = await self._unless_dead(probe(address, self._port, health))
                if answer.ok:
                    return address
                address = address if answer.listens else None
            if time.monotonic() >= limit:
                break
            await self.process.wait(CHECK_SECONDS if address is not None else LOOK_SECONDS)
            self.check()
        raise self._unhealthy(health, answer, deadline) if answer is not None else self._never_listened(deadline)

    async def _unless_dead(self, look: "Coroutine[Any, Any, Found]") -> Found:
        """What the look finds. JobFailure as soon as the process ends, however long the look would take."""
        looking = asyncio.ensure_future(look)
        ending = asyncio.ensure_future(self.process.ended.wait())
        try:
            await asyncio.wait([looking, ending], return_when=asyncio.FIRST_COMPLETED)
            self.check()
            return await looking
        finally:
            looking.cancel()
            ending.cancel()

    def check(self) -> None:
        """JobFailure when it has ended."""
        if not self.process.alive:
            raise self._ended()

    def _ended(self) -> JobFailure:
        lines = self._instance.supervisor.output(self._entry)
        end = self.process.exit
        seconds = time.monotonic() - self._began
        status = end.status if end is not None else None
        remedy = remedy_for(lines, status)
        if end is not None and end.signal == signal.SIGKILL:
            remedy = self._killed()
        elif status == 0 and not remedy:
            remedy = "The command must stay in the foreground: let the server not become a daemon."
        words = end.words if end is not None else "unknown"
        message = f"web ended after {seconds:.1f} s ({words}) before it was ready on port {self._port}"
        return self._failure(message, remedy or "See the process's log on the instance.", lines, status)

    def _killed(self) -> str:
        free = self._instance.kernel.memory_available() // (1024 * 1024)
        if self._instance.kernel.oom_kills() > self._oom_kills:
            return (
                f"The kernel killed it for lack of memory ({free} MB free now): use a larger instance or fewer workers."
            )
        return f"Somebody sent SIGKILL; a lack of memory is the usual reason ({free} MB free now)."

    def _never_listened(self, deadline: float) -> JobFailure:
        places = self._instance.kernel.listening(self.process.members())
        if places is None:
            found = "which ports it listens on cannot be seen on this system"
        elif places:
            found = "it listens on " + ", ".join(f"{address}:{port}" for address, port in places)
        else:
            found = "it listens on no port"
        message = f"web did not listen on port {self._port} within {deadline:g} s; {found}"
        remedy = "Let the server listen on the port in the environment variable PORT, e.g. --bind 127.0.0.1:$PORT."
        if places == []:
            remedy = f"If it needs longer to start, raise the deadline; otherwise: {remedy}"
        return self._failure(message, remedy, self._instance.supervisor.output(self._entry))

    def _unhealthy(self, health: Health, answer: Answer, deadline: float) -> JobFailure:
        path = f"GET {health.path}" if health.path is not None else "a connection"
        body = f": {answer.lines[0]}" if answer.lines else ""
        lines = [*answer.lines, *self._instance.supervisor.output(self._entry)]
        wanted = " or ".join(str(low) if low == high else f"{low}-{high}" for low, high in health.codes)
        return self._failure(
            f"web listens, but did not pass its health check within {deadline:g} s: {path} {answer.words}{body}",
            remedy_for(lines) or f"The path must answer {wanted}: correct the application or the health check path.",
            lines,
        )

    def _failure(self, message: str, remedy: str, lines: Sequence[str], status: Optional[int] = None) -> JobFailure:
        command = self._instance.releases.prepared(self._entry.release, STAGE).command("web")
        return JobFailure(STAGE, message, remedy, command, status, lines)
