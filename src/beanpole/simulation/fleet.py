"""Where simulated instances live, and the client of their agents: what the real Fleet finds below itself.

`on_servers`: their agents are kept alive by systemd and a silence is waited for as long as SSH's; else they are this
machine's, where the control plane itself starts an agent that died.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from beanpole.fleet.agent_client import AgentClient, AgentUnreachable, JobView, at_socket
from beanpole.fleet.fleet import Fleet
from beanpole.fleet.servers.place import PATIENCE, RETRY
from beanpole.simulation.store import refuse_dead
from beanpole.store import instances

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from beanpole.fleet.place import Progressed
    from beanpole.simulation.loop import Process
    from beanpole.simulation.machine import Machine
    from beanpole.simulation.world import World
    from beanpole.store.database import Database

LAUNCH = 1.5
"""Seconds for an instance to be made."""


class SimulatedClient(AgentClient):
    def __init__(self, machine: Machine, process: Process, nowhere: Path) -> None:
        super().__init__(at_socket(nowhere), machine.name, "the store")
        self._machine = machine
        self._process = process

    async def _way(self) -> None:
        """There, or back."""
        machine = self._machine
        await asyncio.sleep(0.002 + 0.004 * machine.random.random())
        refuse_dead(self._process)
        machine.refuse_silent()

    async def hello(self) -> dict[str, Any]:
        await self._way()
        self.greeting = {"started_at": self._machine.agent_since}
        return self.greeting

    async def put_job(self, key: str, kind: str, arguments: Mapping[str, Any], epoch: int) -> JobView:
        await self._way()
        view = self._machine.put(key, kind, dict(arguments), epoch)
        await self._way()
        return view

    async def get_job(self, key: str, wait: float = 0.0, seen: int | None = None) -> JobView:
        await self._way()
        return await self._machine.get(key, wait)

    async def cancel_job(self, key: str, epoch: int | None = None) -> JobView:
        await self._way()
        return self._machine.cancel(key)

    async def state(self) -> dict[str, Any]:
        await self._way()
        return self._machine.state()


class SimulatedPlace:
    """See `Place`."""

    def __init__(self, world: World, database: Database, process: Process, *, on_servers: bool) -> None:
        self._world = world
        self._database = database
        self._process = process
        self.shared_machine = not on_servers
        self.patience = PATIENCE if on_servers else math.inf

    async def launch(self, instance_id: str) -> None:
        refuse_dead(self._process)
        if instance_id not in self._world.machines:
            await asyncio.sleep(LAUNCH)
            refuse_dead(self._process)
            if self._world.refuses_launch(instance_id):
                raise AgentUnreachable(f"{instance_id}: the instance cannot be made (simulated)")
            with self._database.read() as db:
                address = next(each.address for each in instances.listed(db) if each.id == instance_id)
            self._world.make(instance_id, address)
        await self.client(instance_id)

    async def terminate(self, instance_id: str) -> None:
        refuse_dead(self._process)
        machine = self._world.machines.get(instance_id)
        if machine is None:
            return
        await self.client(instance_id)
        await asyncio.sleep(0.05)
        refuse_dead(self._process)
        if self.shared_machine:
            await self.client(instance_id)  # one that died meanwhile is started for its end
        machine.refuse_silent()
        self._world.remove(instance_id)

    async def client(self, instance_id: str) -> AgentClient:
        loop = asyncio.get_running_loop()
        limit = loop.time() + PATIENCE
        while True:
            try:
                return await self.keep_alive(instance_id)
            except AgentUnreachable:
                if loop.time() > limit:
                    raise
            await asyncio.sleep(RETRY)

    async def running(self, instance_id: str) -> AgentClient | None:
        try:
            return await self.keep_alive(instance_id)
        except AgentUnreachable:
            return None

    async def keep_alive(self, instance_id: str) -> AgentClient:
        refuse_dead(self._process)
        machine = self._world.machines.get(instance_id)
        if machine is None:
            raise AgentUnreachable(f"there is no agent of {instance_id} (simulated)")
        client = SimulatedClient(machine, self._process, self._world.folder)
        await client.hello()
        return client

    async def bring(self, instance_id: str, digests: Iterable[str], on_progress: Progressed) -> str:
        await self.client(instance_id)
        return "blobs"

    def kind(self, instance_id: str, python: str) -> None:
        return None

    def builder(self, instance_id: str, python: str) -> None:
        return None

    def layer_job(self, instance_id: str, layer: object, python: str) -> dict[str, Any]:
        return {}

    def layer_folder(self, instance_id: str, key: str, python: str) -> str:
        return key


class SimulatedFleet(Fleet):
    """New instances have names that depend on nothing but their order."""

    def __init__(self, world: World, database: Database, process: Process) -> None:
        here, there = (SimulatedPlace(world, database, process, on_servers=each) for each in (False, True))
        super().__init__(database, here, there)
        self._world = world

    def newcomer(self, taken: set[str]) -> tuple[str, str]:
        return self._world.newcomer()

    def memory_available(self) -> int | None:
        return None


class SimulatedLayers:
    """Every dependency is installed everywhere."""

    def key(self, requirements: object, python: str) -> str:
        return "layer"

    async def ready(self, *_: object) -> SimulatedLayers:
        return self

    def digests(self) -> list[str]:
        return []

    def packages(self, key: str) -> None:
        return None
