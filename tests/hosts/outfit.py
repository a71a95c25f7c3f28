"""The part of a control plane that has to do with servers, as assembly.py builds it, with a database of its own."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from bed import Server as Host

from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.equipment import Equipment
from beanpole.fleet.servers.place import ServerPlace
from beanpole.fleet.servers.server import Server
from beanpole.fleet.servers.servers import Servers
from beanpole.fleet.servers.setup import Setup
from beanpole.store import environments, hosts, instances
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Instance

ENVIRONMENT = Environment("e-1", "shop", "a", None, None, "WebServer", "p", "Ready", "Ok", "[]", 1, "v", 1, 0, 0)
Result = TypeVar("Result")


class Outfit:
    """`store`: its identity. Hosts of the bed are `h-NAME`. Each `run` is a loop with connections of its own.

    `small`: with stand-ins for uv and Envoy.
    """

    def __init__(
        self, folder: Path, bed: list[Host], *, store: str = "storea", program: Path | None = None, small: bool = False
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.store = store
        self.database = Database.at(folder / "beanpole.db")
        self.blobs = Blobs(folder / "blobs")
        self.program = program or agent_program(folder / "programs")
        self.folder = folder / "others"
        if small:
            for name in ("uv", "envoy"):
                path = self.folder / platform.machine() / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"#!/bin/sh\necho {name}\n")
        with self.database.write() as db:
            if environments.find(db, "e-1") is None:
                environments.add(db, ENVIRONMENT)
            for host in bed:
                if hosts.find(db, f"h-{host.name}") is None:
                    hosts.add(db, self._row(host))

    def add(self, instance_id: str, host: Host) -> str:
        with self.database.write() as db:
            new = Instance(instance_id, "e-1", "running", "127.1.2.3", None, 0, host=f"h-{host.name}")
            instances.add(db, new)
        return instance_id

    def run(self, work: Callable[[Running], Awaitable[Result]]) -> Result:
        async def inside() -> Result:
            running = Running(self)
            try:
                return await work(running)
            finally:
                await running.servers.close()

        return asyncio.run(inside())

    def _row(self, host: Host) -> hosts.Host:
        address = Address(host.address, host.user, host.port, host.key, agent="/nonexistent")
        return hosts.Host(
            id=f"h-{host.name}",
            name=host.name,
            address=json.dumps(address.to_json()),
            host_key=host.host_key,
            app_port=80,
            labels="[]",
            state="joining",
            added_at=0,
        )


class Running:
    def __init__(self, outfit: Outfit) -> None:
        self.servers = Servers(outfit.database, outfit.store)
        self.setup = Setup(outfit.database, Equipment(outfit.program, outfit.folder))
        self.place = ServerPlace(outfit.database, self.servers, outfit.blobs, self.setup)

    def server(self, name: str) -> Server:
        return self.servers.server(f"h-{name}")
