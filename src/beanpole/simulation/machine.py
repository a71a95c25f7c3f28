"""One simulated instance: what its agent, its releases and its processes do, and what may befall them.

It keeps to what the real agent promises (agent/jobs.py, activation.py, switch.py): a key runs once to its end and its
result stays, an older epoch is refused, a release that does not start is stopped again, a stop-first start has a way
back, the boot target starts with the machine.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from beanpole.fleet.agent_client import AgentRefused, AgentUnreachable, JobView, StaleEpoch
from beanpole.simulation.jobs import KINDS, MOMENT, Failed
from beanpole.simulation.version import LATER

if TYPE_CHECKING:
    from beanpole.simulation.world import World


class Web:
    """The web process of one release. `since`: when it last began, or ceased, to work."""

    def __init__(self, digest: str, port: int, now: float) -> None:
        self.digest = digest
        self.port = port
        self.up = False
        """It runs and answers, or would if nothing were wrong with it."""
        self.proven = False
        self.starting = True
        self.ill = False
        self.since = now
        self.started_at = now
        self.restarts = 0

    @property
    def works(self) -> bool:
        return self.up and not self.ill


class Job:
    def __init__(self, key: str, kind: str, epoch: int) -> None:
        self.key, self.kind, self.epoch = key, kind, epoch
        self.state = "running"
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.task: asyncio.Task[Any] | None = None

    def view(self) -> JobView:
        return JobView(self.key, self.state, self.result, self.error, "", 0, 0, 0)


class Machine:
    def __init__(self, world: World, name: str, address: str) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.random = Random(f"{world.seed}/{address}")
        self.on = True
        self.silent = 0
        """How many faults keep its agent from answering right now."""
        self.slow = 1.0
        self.epoch = 0
        self.agent_since = world.loop.clock()
        self.fetched: set[str] = set()
        self.ready: set[str] = set()
        self.boot: str | None = None
        self.webs: dict[str, Web] = {}
        self.jobs: dict[str, Job] = {}
        self.undo: tuple[str, str] | None = None
        self.ports = 20000
        self.lies: set[str] = set()
        """Kinds of jobs of which it says that they are done although it did nothing."""
        self.loses = 0
        """How many answers to orders are lost."""
        self._waiting: list[asyncio.Future[None]] = []

    # What the control plane says to its agent

    @property
    def answers(self) -> bool:
        return self.on and not self.silent

    def refuse_silent(self) -> None:
        if not self.answers:
            self.world.feels("silent", sure=self.on)
            raise AgentUnreachable(f"the agent at {self.name} cannot be reached: no route (simulated)")

    def put(self, key: str, kind: str, arguments: dict[str, Any], epoch: int) -> JobView:
        self.refuse_silent()
        if epoch < self.epoch:
            raise StaleEpoch(409, "stale epoch", {"epoch": self.epoch})
        self.epoch = epoch
        job = self.jobs.get(key)
        if job is None or job.state == "interrupted":
            job = self.jobs[key] = Job(key, kind, epoch)
            self.world.ordered(self, job, arguments)
            work = self._run(job, kind, arguments)
            job.task = self.world.loop.spawn(self.world.loop.world, work, f"{kind} on {self.name}")
        if self.loses:
            self.loses -= 1
            self.world.feels("lose")
            raise AgentUnreachable(f"the agent at {self.name} gave no answer within 10 s (simulated)")
        return job.view()

    async def get(self, key: str, wait: float) -> JobView:
        limit = self.world.loop.time() + wait
        while True:
            self.refuse_silent()
            job = self.jobs.get(key)
            if job is None:
                raise AgentRefused(404, "no such job", {})
            if job.state != "running" or (left := limit - self.world.loop.time()) <= 0:
                return job.view()
            future = self.world.loop.create_future()
            self._waiting.append(future)
            timer = self.world.loop.call_later(left, _wake, future)
            await future
            timer.cancel()

    def cancel(self, key: str) -> JobView:
        self.refuse_silent()
        job = self.jobs[key]
        if job.state == "running":
            self._end(job, "cancelled")
        return job.view()

    def state(self) -> dict[str, Any]:
        self.refuse_silent()
        return {
            "instance": {"disk_free": 1 << 40, "memory_available": self.world.memory_of(self)},
            "releases": sorted(self.ready),
            "processes": [self._told(web) for web in self.webs.values()],
        }

    def _told(self, web: Web) -> dict[str, Any]:
        return {
            "release": web.digest,
            "name": "web",
            "state": "running" if web.up else "starting",
            "pid": 1 if web.up or web.starting else None,
            "address": self.address,
            "port": web.port,
            "restarts": web.restarts,
            "started_at": web.started_at,
            "rss": self.world.scenario.memory_used if web.up else 0,
        }

    # What befalls it

    def silence(self) -> None:
        self.silent += 1
        self._changed()

    def speak(self) -> None:
        self.silent -= 1

    def agent_dies(self) -> None:
        """What it was doing is interrupted; its processes go on. Another one follows."""
        for job in self.jobs.values():
            if job.state == "running":
                self._end(job, "interrupted")
        self.agent_since = self.world.loop.clock()
        for web in list(self.webs.values()):
            if not web.proven:
                self.stop(web.digest)
        if self.undo is not None and self.undo[1] not in self.webs:
            self.go_back()

    def power_off(self) -> None:
        self.on = False
        for job in self.jobs.values():
            if job.state == "running":
                self._end(job, "interrupted")
        self.webs.clear()
        self.undo = None
        self._changed()
        self.world.moved()

    def power_on(self) -> None:
        self.on = True
        self.agent_since = self.world.loop.clock()
        if self.boot is not None:
            self.begin(self.boot, proven=True)

    def app_dies(self) -> bool:
        """Of all releases; those that were proven are started again. Whether any ran."""
        dying = [web for web in self.webs.values() if web.up]
        for web in dying:
            self._crash(web)
        return bool(dying)

    # Jobs

    async def _run(self, job: Job, kind: str, arguments: dict[str, Any]) -> None:
        try:
            if kind in self.lies:
                await asyncio.sleep(MOMENT)
                self.world.feels("lie")
                self.world.excuse(self.name, f"says that {kind} is done, which is a lie")
                result = {"address": self.address, "port": self._port(), "errors": {"count": 0}, "kept": []}
            else:
                if arguments.get("stage") == "Once":
                    self.world.leader_ran(self, job.key)
                result = await KINDS[kind](self, arguments)
        except Failed as failure:
            job.error = failure.error
            self._end(job, "failed")
        else:
            job.result = result
            self._end(job, "succeeded")

    def _end(self, job: Job, state: str) -> None:
        if job.state != "running":
            return
        job.state = state
        self.world.done(self, job)
        if state in ("cancelled", "interrupted") and job.task is not None:
            job.task.cancel()
        self._changed()

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            _wake(each)

    async def takes(self, seconds: float) -> None:
        """On a good day; a slow one needs longer."""
        self.world.feels("slow", sure=self.slow > 1.0)
        await asyncio.sleep(seconds * self.slow * self.random.uniform(0.8, 1.2))

    # Processes

    def _port(self) -> int:
        self.ports += 1
        return self.ports

    def begin(self, digest: str, *, proven: bool, port: int | None = None) -> Web:
        version = self.world.version(digest)
        web = Web(digest, port or version.port or self._port(), self.world.loop.time())
        web.started_at = self.world.loop.clock()
        web.proven = proven
        self.webs[digest] = web
        self._boots(web)
        return web

    def serves(self, digest: str, port: int) -> None:
        """It has done so for a long time."""
        web = Web(digest, port, -3600.0)
        web.up, web.proven, web.starting = True, True, False
        web.started_at = self.world.loop.clock() - 3600.0
        self.webs[digest] = web

    def _boots(self, web: Web) -> None:
        version, loop = self.world.version(web.digest), self.world.loop
        web.starting = True
        seconds = version.boot * self.slow * self.random.uniform(0.9, 1.1)
        if version.flaw == "start" or self.world.refuses(self.name, web.digest):
            loop.call_later(seconds, self._dies_at_start, web)
        else:
            loop.call_later(seconds, self._is_up, web)

    def _is_up(self, web: Web) -> None:
        if self.webs.get(web.digest) is not web or not self.on:
            return
        web.up, web.starting, web.ill, web.since = True, False, False, self.world.loop.time()
        flaw = self.world.version(web.digest).flaw
        if flaw in ("gate", "later"):
            after = LATER if flaw == "later" else 0.2 + self.random.random() * 0.6
            self.world.loop.call_later(after, self._turns_bad, web)
        self.world.moved()

    def _dies_at_start(self, web: Web) -> None:
        if self.webs.get(web.digest) is web and web.starting:
            if web.proven:
                self._crash(web)
            else:
                self.stop(web.digest)

    def _turns_bad(self, web: Web) -> None:
        if self.webs.get(web.digest) is web and web.up:
            web.ill, web.since = True, self.world.loop.time()
            self.world.moved()

    def _crash(self, web: Web) -> None:
        """One that was proven is started again, a moment later."""
        if not web.proven:
            self.stop(web.digest)
            return
        web.up, web.starting, web.since = False, True, self.world.loop.time()
        web.restarts += 1
        self.world.loop.call_later(1.0, self._again, web)
        self.world.moved()

    def _again(self, web: Web) -> None:
        if self.webs.get(web.digest) is web and self.on and not web.up:
            web.started_at = self.world.loop.clock()
            self._boots(web)

    def stop(self, digest: str) -> None:
        web = self.webs.get(digest)
        if web is not None:
            self.world.stopping(self, web)
            del self.webs[digest]
            self.world.moved()

    def no_verdict(self, undo: tuple[str, str]) -> None:
        if self.undo is undo:
            self.go_back()

    def go_back(self) -> None:
        old, new = self.undo or ("", "")
        self.undo = None
        self.world.excuse(self.name, "its agent took a start back")
        if new in self.webs:
            self.stop(new)
        if old in self.ready and old not in self.webs:
            self.begin(old, proven=True, port=self.world.version(old).port)

    def end(self) -> None:
        """It is removed."""
        for digest in list(self.webs):
            self.stop(digest)
        self.on = False
        self._changed()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
