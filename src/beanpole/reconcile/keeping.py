"""Keeps what should run running: agents and the balancer that died are started again.

An agent that starts anew may have to give an application another port; the balancer is told of it here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.fleet.edge import EdgeProxy
    from beanpole.fleet.local import LocalFleet
    from beanpole.store.database import Database

PERIOD = 2.0
"""Seconds between looks. An agent answers in under a millisecond; applications do not need it to serve."""

log = structlog.get_logger("keeping")


class Keeping:
    def __init__(self, database: Database, fleet: LocalFleet, edge: EdgeProxy) -> None:
        self._database = database
        self._fleet = fleet
        self._edge = edge
        self._started: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.once()

    async def once(self) -> None:
        with self._database.read() as db:
            running = [instance for instance in instances.listed(db) if instance.state == "running"]
        await asyncio.gather(
            self._noted("balancer", self._edge.keep_alive()),
            *(self._noted(instance.id, self._keep(instance.id)) for instance in running),
        )

    async def _keep(self, instance_id: str) -> None:
        client = await self._fleet.keep_alive(instance_id)
        if self._started.get(instance_id) == (started := (await client.hello())["started_at"]):
            return
        # A new agent: compare what runs with what the balancer knows.
        asked_at = self._database.now_ms()
        processes = (await client.state())["processes"]
        # One that is just starting has not shown yet where it listens.
        proven = {each["release"]: each for each in processes if each["name"] == "web" and each["state"] == "running"}
        if await asyncio.to_thread(self._moved, instance_id, proven, asked_at):
            await self._edge.apply()
        self._started[instance_id] = started

    def _moved(self, instance_id: str, running: dict[str, dict[str, Any]], asked_at: int) -> bool:
        """Whether an endpoint answers elsewhere now; the database has it then.

        What changed since the agent was asked (milliseconds) was changed by somebody who knew better.
        """
        with self._database.write() as db:
            moved = [
                msgspec.structs.replace(known, address=now["address"], port=now["port"])
                for known in instances.endpoints_of(db, instance_id)
                if known.since < asked_at
                if (now := running.get(known.digest)) is not None and now["address"] and now["port"]
                if (known.address, known.port) != (now["address"], now["port"])
            ]
            for endpoint in moved:
                instances.put_endpoint(db, endpoint)
        return bool(moved)

    async def _noted(self, who: str, work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except (AgentUnreachable, AgentWillNotStart) as problem:
            log.warning("agent cannot be reached or started", of=who, problem=str(problem))
