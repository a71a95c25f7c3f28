"""Keeps what should run running: agents and the balancer that died are started again.

An instance whose launch failed is made all the same, unless an operation is about to decide on it; one that is being
removed is left alone. An agent that starts anew may have to give an application another port; the balancer is told of
it here.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from beanpole.agent.static_process import NAME as FILES
from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.store import instances, operations

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import sqlalchemy as sa

    from beanpole.fleet.agent_client import AgentClient
    from beanpole.fleet.balancers import Balancers
    from beanpole.fleet.fleet import Fleet
    from beanpole.store.database import Database
    from beanpole.store.instances import Endpoint, Instance

Processes = dict[str, dict[str, Any]]
"""As an agent tells of them, by their release."""

PERIOD = 2.0
"""Seconds between looks. An agent answers in under a millisecond; applications do not need it to serve."""

QUICK = 2.0
"""Seconds for an agent to say that it is there, over SSH, too; one that takes longer may have to be started again."""

SILENCE = 10.0
"""Seconds without an answer after which an instance counts as one that cannot be reached. A reboot takes longer, a lost
connection mostly not."""

log = structlog.get_logger("keeping")


class Keeping:
    def __init__(self, database: Database, fleet: Fleet, balancers: Balancers) -> None:
        self._database = database
        self._fleet = fleet
        self._balancers = balancers
        self._started: dict[str, float] = {}
        self._silent: dict[str, int] = {}
        self._looking: dict[str, asyncio.Task[object]] = {}

    async def run(self) -> None:
        """Until cancelled. One that takes long to answer, or to be started, keeps nobody else from being looked at."""
        try:
            while True:
                await asyncio.sleep(PERIOD)
                if begun := self._look():
                    await asyncio.wait(begun, timeout=PERIOD)
        finally:
            looking = list(self._looking.values())
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    async def once(self) -> None:
        """Everyone, once, to the end."""
        await asyncio.gather(*self._look())

    def _look(self) -> list[asyncio.Task[object]]:
        """At everyone who is not being looked at yet."""
        with self._database.read() as db:
            busy = {each.environment_id for each in operations.listed(db, open_only=True, limit=1000)}
            kept = [each for each in instances.listed(db) if _is_kept(each, busy)]
        self._started = {each.id: self._started[each.id] for each in kept if each.id in self._started}
        self._silent = {each.id: self._silent[each.id] for each in kept if each.id in self._silent}
        work: dict[str, Callable[[], Coroutine[None, None, object]]] = {
            "balancer": lambda: self._noted("balancer", self._balancers.keep_alive()),
            **{each.id: partial(self._heard, each) for each in kept},
        }
        begun: list[asyncio.Task[object]] = []
        for name in work:
            if name in self._looking:
                continue
            self._looking[name] = task = asyncio.create_task(work[name](), name=f"keeping {name}")
            task.add_done_callback(partial(self._looked, name))
            begun.append(task)
        return begun

    def _looked(self, name: str, task: asyncio.Task[object]) -> None:
        self._looking.pop(name, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("an instance could not be kept for a fault of ours", of=name, exc_info=fault)

    async def _heard(self, instance: Instance) -> None:
        """Keep it, and write down since when it does not answer, or that it does again."""
        now = self._database.now_ms()
        if await self._noted(instance.id, self._keep(instance)):
            self._silent.pop(instance.id, None)
            since = None
        else:
            since = self._silent.setdefault(instance.id, now)
            if self._database.now_ms() - since < SILENCE * 1000:
                return
        if since != instance.silent_since:
            await asyncio.to_thread(self._write_silence, instance.id, since)

    def _write_silence(self, instance_id: str, since: int | None) -> None:
        with self._database.write() as db:
            instances.update(db, instance_id, silent_since=since)

    async def _keep(self, instance: Instance) -> None:
        client = await self._running(instance.id)
        if client is None:
            # Its removal may have begun since the look, and an agent that is started now would be in its way.
            if not await asyncio.to_thread(self._is_still_kept, instance.id):
                return
            client = await self._fleet.keep_alive(instance.id)
        if instance.state == "launching":
            await asyncio.to_thread(self._launched, instance.id)
        # Whoever found it running has greeted it a moment ago; to ask each agent twice would be half of the work.
        started = (client.greeting or await client.hello())["started_at"]
        if self._started.get(instance.id) == started:
            return
        # A new agent: compare what runs with what the balancer knows.
        asked_at = self._database.now_ms()
        processes = (await client.state())["processes"]
        # One that is just starting has not shown yet where it listens.
        proven = {name: _running(processes, name) for name in ("web", FILES)}
        moved, complete = await asyncio.to_thread(self._follow, instance.id, proven["web"], proven[FILES], asked_at)
        if moved:
            await self._balancers.apply()
        if complete:
            self._started[instance.id] = started

    async def _running(self, instance_id: str) -> AgentClient | None:
        try:
            async with asyncio.timeout(QUICK):
                return await self._fleet.running(instance_id)
        except TimeoutError:
            return None

    def _is_still_kept(self, instance_id: str) -> bool:
        with self._database.read() as db:
            return _is_kept_now(db, instance_id)

    def _launched(self, instance_id: str) -> None:
        """Its agent answers, which its Launch step did not live to see."""
        with self._database.write() as db:
            if _is_kept_now(db, instance_id):
                instances.update(db, instance_id, state="running")

    def _follow(
        self, instance_id: str, running: Processes, serving_files: Processes, asked_at: int
    ) -> tuple[bool, bool]:
        """Whether an endpoint answers elsewhere now, which the database has then; and whether all were found running.

        What changed since the agent was asked (milliseconds) was changed by somebody who knew better; what seems to
        have changed in the future was changed before somebody put the clock back. An agent that
        starts a release at boot knows its port and not the address that its program chooses: it is the same as before.
        """
        with self._database.write() as db:
            known = instances.endpoints_of(db, instance_id)
            now_ms = self._database.now_ms()
            moved = [
                now
                for each in known
                if not asked_at <= each.since <= now_ms
                if (now := _where(each, running.get(each.digest), serving_files.get(each.digest))) != each
            ]
            for endpoint in moved:
                instances.put_endpoint(db, endpoint)
        serving = [each for each in known if each.state == "serving"]
        return bool(moved), all(
            each.digest in running and (each.files_port is None or each.digest in serving_files) for each in serving
        )

    async def _noted(self, who: str, work: object) -> bool:
        """Whether it could be done."""
        try:
            await work  # type: ignore[misc]
        except (AgentError, AgentWillNotStart) as problem:
            log.warning("agent cannot be reached or started", of=who, problem=str(problem))
            return False
        return True


def _running(processes: list[dict[str, Any]], name: str) -> Processes:
    return {each["release"]: each for each in processes if each["name"] == name and each["state"] == "running"}


def _where(known: Endpoint, web: dict[str, Any] | None, files: dict[str, Any] | None) -> Endpoint:
    """Where the endpoint is now, as far as its processes tell."""
    if web is not None and web["port"]:
        known = msgspec.structs.replace(known, address=web["address"] or known.address, port=web["port"])
    if files is not None and files["port"] and known.files_port is not None:
        known = msgspec.structs.replace(known, files_port=files["port"])
    return known


def _is_kept_now(db: sa.Connection, instance_id: str) -> bool:
    instance = instances.find(db, instance_id)
    if instance is None:
        return False
    busy = operations.listed(db, environment_id=instance.environment_id, open_only=True, limit=1)
    return _is_kept(instance, {each.environment_id for each in busy})


def _is_kept(instance: Instance, busy: set[str]) -> bool:
    """`busy`: environments with an open operation, which decides itself on what it launches."""
    return instance.state == "running" or (instance.state == "launching" and instance.environment_id not in busy)
