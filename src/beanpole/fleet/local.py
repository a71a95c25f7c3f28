"""The fleet of this machine: an instance is a folder, a loopback address of its own and an agent beside it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beanpole.fleet.agent_client import AgentClient, AgentRefused, AgentUnreachable, JobInterrupted, JobView
from beanpole.fleet.detached import AgentWillNotStart, DetachedAgent
from beanpole.store import instances
from beanpole.store.database import Database

PATIENCE = 30.0
"""Seconds for which an agent that does not answer is started again before it counts as unreachable."""

RETRY = 0.1
"""Seconds between tries to reach an agent that is starting anew."""

Progressed = Callable[[str, int, int], None]


class LocalFleet:
    """The instances below one folder. All methods may be repeated; what is done already is not done again."""

    shared_machine = True
    """The instances share one machine's memory, disk and port numbers."""

    def __init__(self, database: Database, folder: Path, program: Path, store: str) -> None:
        self._database = database
        self._folder = folder
        self._program = program
        self._store = store
        self._agents: dict[str, DetachedAgent] = {}
        self._letting_go = False

    def let_go(self) -> None:
        """This process ends: a job whose caller is cancelled goes on from now on, and the next process asks for it."""
        self._letting_go = True

    def free_address(self, instance_id: str, taken: set[str]) -> str:
        """A loopback address that no instance has; 127.0.0.1 for all where the system knows only that one."""
        if not _has_loopback_net():
            return "127.0.0.1"
        for attempt in range(1000):
            digest = hashlib.sha256(f"{instance_id}/{attempt}".encode()).digest()
            address = f"127.{64 + digest[0] % 128}.{digest[1]}.{1 + digest[2] % 254}"
            if address not in taken:
                return address
        raise AgentWillNotStart("no free loopback address was found in 1000 tries")

    async def launch(self, instance_id: str) -> None:
        await self._agent(instance_id).client()

    async def terminate(self, instance_id: str) -> None:
        """Stop everything that runs on the instance and remove its folder."""
        folder = self._folder / instance_id
        if folder.exists():
            await self._agent(instance_id).end()
            await asyncio.to_thread(_remove, folder)
        self._agents.pop(instance_id, None)

    def address(self, instance_id: str) -> str:
        """The instance's own address."""
        return self._agent(instance_id).address

    async def keep_alive(self, instance_id: str) -> AgentClient:
        """The instance's agent, started again if it died."""
        agent = self._agent(instance_id)
        agent.reap()
        return await agent.client()

    async def running(self, instance_id: str) -> AgentClient | None:
        """The instance's agent if it answers; nothing is started."""
        return await self._agent(instance_id).running()

    async def state(self, instance_id: str) -> dict[str, Any]:
        """What the instance's agent reports. Raises AgentUnreachable."""
        return await (await self._client(instance_id)).state()

    async def client(self, instance_id: str) -> AgentClient:
        return await self._client(instance_id)

    async def job(
        self,
        instance_id: str,
        key: str,
        kind: str,
        arguments: dict[str, Any],
        *,
        epoch: int,
        timeout: float,
        repeat: bool = True,
        on_progress: Progressed | None = None,
    ) -> dict[str, Any]:
        """Have a job done and wait for its result, across deaths of the agent.

        `repeat=False`: one that died with its agent is not done again; JobInterrupted says so.

        Raises JobError, StaleEpoch, AgentUnreachable (also when `timeout` seconds are over: then it is unknown whether
        the job was done). A caller that is cancelled cancels the job, unless this process lets go.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self._job(instance_id, key, kind, arguments, epoch, repeat, on_progress)
                    except JobInterrupted:
                        if not repeat:
                            raise
                    except AgentUnreachable:
                        await asyncio.sleep(RETRY)
        except TimeoutError:
            await self._cancel(instance_id, key)
            raise AgentUnreachable(f"job {kind} gave no result within {timeout:.0f} s") from None
        except asyncio.CancelledError:
            if not self._letting_go:
                await asyncio.shield(self._cancel(instance_id, key))
            raise

    async def _job(
        self,
        instance_id: str,
        key: str,
        kind: str,
        arguments: dict[str, Any],
        epoch: int,
        repeat: bool,
        on_progress: Progressed | None,
    ) -> dict[str, Any]:
        client = await self._client(instance_id)
        if not repeat and (known := await _known(client, key)) is not None and known.state == "interrupted":
            known.outcome()
        await client.put_job(key, kind, arguments, epoch)
        return await client.wait_job(key, on_progress)

    async def _cancel(self, instance_id: str, key: str) -> None:
        client = await self._agent(instance_id).running()
        if client is not None and await _known(client, key) is not None:
            with contextlib.suppress(AgentUnreachable):
                await client.cancel_job(key)

    async def _client(self, instance_id: str) -> AgentClient:
        if not (self._folder / instance_id).exists():
            raise AgentUnreachable(f"instance {instance_id} has no folder")
        limit = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                return await self._agent(instance_id).client()
            except AgentWillNotStart as problem:
                if asyncio.get_running_loop().time() > limit:
                    raise AgentUnreachable(str(problem)) from problem
                await asyncio.sleep(0.5)

    def _agent(self, instance_id: str) -> DetachedAgent:
        if instance_id not in self._agents:
            with self._database.read() as db:
                instance = instances.find(db, instance_id)
            if instance is None:
                raise AgentUnreachable(f"there is no instance {instance_id!r}")
            folder = self._folder / instance_id
            agent = DetachedAgent(folder, self._program, self._store, "instance", instance.address)
            self._agents[instance_id] = agent
        return self._agents[instance_id]


async def _known(client: AgentClient, key: str) -> JobView | None:
    try:
        return await client.get_job(key)
    except AgentRefused as refusal:
        if refusal.status == 404:
            return None
        raise


def _remove(folder: Path) -> None:
    """Releases may hold folders without write permission."""
    for below in folder.rglob("*"):
        if below.is_dir() and not below.is_symlink():
            below.chmod(0o700)
    shutil.rmtree(folder)


def _has_loopback_net() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.77.77.77", 0))
        except OSError:
            return False
    return True
