"""This machine: an instance is a folder, a loopback address of its own and an agent beside it."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import shutil
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from beanpole.fleet.agent_client import AgentClient, AgentError, AgentUnreachable
from beanpole.fleet.detached import AgentWillNotStart, DetachedAgent
from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.fleet.layers import Layer
    from beanpole.fleet.place import Progressed
    from beanpole.store.blobs import Blobs
    from beanpole.store.database import Database

PATIENCE = 30.0
"""Seconds for which an agent that does not answer is started again before it counts as unreachable."""

STARTS = 8
"""Agents that are started at the same time: each start is a Python's, and a thousand at once take a machine down."""

QUICK = 1.0
"""Seconds in which an agent that runs answers; those that take longer have to wait in line to be looked at."""

REMOVE_LIMIT = 10.0
"""Seconds for a folder to go: what ended a moment ago may still write into it."""

REMOVE_AGAIN = 0.1
"""Seconds between tries."""

log = structlog.get_logger("fleet")


class ThisMachine:
    """The instances below one folder, see `Place`."""

    shared_machine = True
    patience = math.inf  # an agent that does not answer is followed by another

    def __init__(
        self, database: Database, blobs: Blobs, folder: Path, program: Path, store: str, layers: Path
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._folder = folder
        self._program = program
        self._store = store
        self._layers = layers
        self._agents: dict[str, DetachedAgent] = {}
        self._starting = asyncio.Semaphore(STARTS)
        self._leaving: set[str] = set()

    async def launch(self, instance_id: str) -> None:
        await self._started(instance_id)

    async def terminate(self, instance_id: str) -> None:
        """From now on nobody else starts its agent. Raises AgentUnreachable; then it may be tried again."""
        self._leaving.add(instance_id)
        folder = self._folder / instance_id
        try:
            if folder.exists():
                await self._clear(folder, self._agent(instance_id))
        except BaseException:
            self._leaving.discard(instance_id)
            raise
        finally:
            self._agents.pop(instance_id, None)

    async def clear_leftovers(self) -> list[str]:
        """End and remove the instances that the database does not know; their names.

        They come from a database that was put back to an earlier state, or from a removal that failed. What cannot be
        removed stays until the next time.
        """
        # The folders first: a launch writes its row before it makes the folder.
        folders = [folder for folder in sorted(self._folder.glob("i-*")) if folder.is_dir() and not folder.is_symlink()]
        with self._database.read() as db:
            known = {instance.id for instance in instances.listed(db)}
        left = [folder for folder in folders if folder.name not in known]
        cleared = await asyncio.gather(*(self._clear_leftover(folder) for folder in left))
        return [folder.name for folder, done in zip(left, cleared, strict=True) if done]

    async def keep_alive(self, instance_id: str) -> AgentClient:
        self._agent(instance_id).reap()
        return await self._started(instance_id)

    async def running(self, instance_id: str) -> AgentClient | None:
        return await self._agent(instance_id).running()

    async def client(self, instance_id: str) -> AgentClient:
        if not (self._folder / instance_id).exists():
            raise AgentUnreachable(f"instance {instance_id} has no folder")
        limit = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                return await self._started(instance_id)
            except AgentWillNotStart as problem:
                if asyncio.get_running_loop().time() > limit:
                    raise AgentUnreachable(str(problem)) from problem
                await asyncio.sleep(0.5)

    async def bring(self, instance_id: str, digests: Iterable[str], on_progress: Progressed) -> str:
        return str(self._blobs.root)

    def kind(self, instance_id: str, python: str) -> None:
        return None

    def builder(self, instance_id: str, python: str) -> None:
        return None

    def layer_job(self, instance_id: str, layer: Layer, python: str) -> dict[str, Any]:
        return layer.job_arguments()

    def layer_folder(self, instance_id: str, key: str, python: str) -> str:
        return str(self._layers / key)

    async def _started(self, instance_id: str) -> AgentClient:
        """The agent's client. Those that run are not kept waiting by those that have to be started."""
        client = await _running(self._agent(instance_id))
        if client is not None:
            return client
        async with self._starting:
            if instance_id in self._leaving:
                raise AgentUnreachable(f"instance {instance_id} is being removed")
            return await self._agent(instance_id).client()

    async def _clear(self, folder: Path, agent: DetachedAgent) -> None:
        """Raises AgentUnreachable when something stays."""
        try:
            if agent.ever_ran():
                if await _running(agent) is None:
                    # Only an agent knows which processes belong to its folder: a dead one is started for its end.
                    async with self._starting:
                        await agent.client()
                await agent.end()
        except (AgentWillNotStart, TimeoutError) as problem:
            cause = str(problem) or "its agent does not end"
            raise AgentUnreachable(f"what runs on instance {folder.name} cannot be ended: {cause}") from problem
        try:
            await asyncio.to_thread(_remove, folder)
        except OSError as problem:
            raise AgentUnreachable(
                f"instance {folder.name} has ended, but its folder cannot be removed: {problem}"
            ) from problem

    async def _clear_leftover(self, folder: Path) -> bool:
        try:
            await self._clear(folder, DetachedAgent(folder, self._program, self._store, "instance"))
        except (AgentError, AgentWillNotStart) as problem:
            log.warning("an instance that nobody knows cannot be removed", instance=folder.name, problem=str(problem))
            return False
        log.info("an instance that nobody knows was removed", instance=folder.name)
        return True

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


async def _running(agent: DetachedAgent) -> AgentClient | None:
    try:
        async with asyncio.timeout(QUICK):
            return await agent.running()
    except TimeoutError:
        return None


def free_address(instance_id: str, taken: set[str]) -> str:
    """A loopback address that no instance has; 127.0.0.1 for all where the system knows only that one."""
    if not _has_loopback_net():
        return "127.0.0.1"
    for attempt in range(1000):
        digest = hashlib.sha256(f"{instance_id}/{attempt}".encode()).digest()
        address = f"127.{64 + digest[0] % 128}.{digest[1]}.{1 + digest[2] % 254}"
        if address not in taken:
            return address
    raise AgentWillNotStart("no free loopback address was found in 1000 tries")


def _remove(folder: Path) -> None:
    """Tried until REMOVE_LIMIT, then the OSError is raised."""
    limit = time.monotonic() + REMOVE_LIMIT
    while folder.exists():
        try:
            _make_writable(folder)
            shutil.rmtree(folder)
        except OSError:
            if folder.exists() and time.monotonic() > limit:
                raise
            time.sleep(REMOVE_AGAIN)


def _make_writable(folder: Path) -> None:
    """Releases may hold folders without write permission."""
    folder.chmod(0o700)
    for path, names, _ in os.walk(folder):
        for below in (Path(path, name) for name in names):
            if not below.is_symlink():
                below.chmod(0o700)


def _has_loopback_net() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.77.77.77", 0))
        except OSError:
            return False
    return True
