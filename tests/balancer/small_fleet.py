"""A fleet with servers on this machine: each has a loopback address and a port, a real agent and Envoy, applications.

The database and the balancers are the real ones. A server's releases are applications of the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from balancer_home import BINARY, QUICK, free_port, until
from echo_app import EchoApp

from beanpole.balancer.pool import Health
from beanpole.fleet.agent_client import AgentClient, AgentUnreachable
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.balancers import Balancers
from beanpole.fleet.detached import DetachedAgent
from beanpole.fleet.edges import Listen
from beanpole.fleet.proxy import Post
from beanpole.store import environments, hosts, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.hosts import Host
from beanpole.store.instances import Endpoint, Instance

STORE = "store-1"
HOST = "a.localhost"
PATIENCE = 20.0  # seconds for Envoy to find what is healthy
# The test's applications answer when this process gets round to it, with a load beside them.
STEADY = replace(QUICK, timeout=10.0, unhealthy=3)


class FleetServer:
    """`cut`: the control plane cannot reach the agent; requests go on."""

    def __init__(self, number: int, folder: Path, program: Path) -> None:
        self.id = f"h-{number}"
        self.address = f"127.9.0.{number}"
        self.port = free_port()
        self.agent = DetachedAgent(folder / f"s{number}", program, STORE, "balancer")
        self.cut = False
        self.apps: list[EchoApp] = []

    @property
    def key(self) -> str:
        return f"{self.address}:{self.port}"

    async def client(self) -> AgentClient:
        if self.cut:
            raise AgentUnreachable(f"{self.id} is cut off")
        return await self.agent.client()

    async def told(self) -> int:
        """The number of the last snapshot that its proxy was told."""
        return int((await (await self.agent.client()).call("GET", "/envoy"))["version"])

    async def pid(self) -> int:
        return int((await (await self.agent.client()).call("GET", "/envoy"))["pid"])

    async def kill_agent(self) -> None:
        os.kill(int((self.agent.home / "agent.lock").read_text()), signal.SIGKILL)

    async def count(self) -> dict[str, Any]:
        answer: dict[str, Any] = await (await self.agent.client()).call("GET", "/requests?after=0")
        return answer["totals"]


class SmallFleet:
    def __init__(self, folder: Path, servers: int) -> None:
        self.program = program = agent_program(folder)
        self.folder = folder
        self.database = Database.at(folder / "beanpole.db")
        self.agent = DetachedAgent(folder / "edge", program, STORE, "balancer")
        self.port = free_port()
        self.servers = {f"h-{n}": FleetServer(n, folder, program) for n in range(1, servers + 1)}
        self.number = 0
        with self.database.write() as db:
            for at, server in enumerate(self.servers.values()):
                address = json.dumps({"host": server.address, "user": "me"})
                hosts.add(
                    db,
                    Host(
                        id=server.id, name=server.id, address=address, host_key="k", app_port=server.port, labels="[]",
                        state="ready", added_at=at,
                    ),
                )  # fmt: skip
        self.balancers = self.control_plane()

    def control_plane(self) -> Balancers:
        """The balancers as a control plane has them that was started now."""
        listen = Listen("127.0.0.1", self.port, "localhost")
        return Balancers(self.database, Post.here(self.agent, Path(BINARY)), STORE, listen, self._post)

    def _post(self, host_id: str) -> Post:
        async def envoy() -> str:
            return BINARY

        return Post.there(self.servers[host_id].client, envoy)

    def name(self, host: str, name: str) -> None:
        """The server is reached by that name from now on."""
        with self.database.write() as db:
            hosts.update(db, host, address=json.dumps({"host": name, "user": "me"}))

    def environment(self, name: str = "a") -> str:
        id_ = f"e-{name}"
        with self.database.write() as db:
            environments.add(
                db,
                Environment(
                    id_, name, "pets", None, name, "WebServer", "Python", "Ready", "Ok", "[]", 1, "v1", 1, 0, 0
                ),
            )
        return id_

    def instance(self, environment: str, host: str | None = None) -> str:
        self.number += 1
        id_ = f"i-{self.number}"
        with self.database.write() as db:
            instances.add(
                db, Instance(id_, environment, "running", f"127.8.0.{self.number}", 1, self.number, host=host)
            )
        return id_

    async def serve(self, instance: str, version: str, health: Health = STEADY, found: bool = True) -> EchoApp:
        """As Activate does it: the release is started, found healthy, and the others there get no more requests."""
        app = await EchoApp(version).start()
        endpoint = self.row(instance, version, app.port, health)
        await self.balancers.apply(instance)
        assert not found or await self.balancers.healthy(self._environment(instance), endpoint, PATIENCE)
        with self.database.write() as db:
            instances.drain(db, self.database.now_ms(), instance, keep=version)
        await self.balancers.apply(instance)
        return app

    def row(self, instance: str, version: str, port: int, health: Health = STEADY, weight: int = 1) -> Endpoint:
        text = msgspec.json.encode(health).decode()
        new = Endpoint(instance, version, "127.0.0.1", port, "serving", self.database.now_ms(), text, weight=weight)
        with self.database.write() as db:
            instances.put_endpoint(db, new)
        return new

    async def leave(self, instance: str, *, keep: str | None = None, seconds: float = 20.0) -> int:
        """As Drain and Leave do it. The requests that were cut."""
        with self.database.write() as db:
            instances.drain(db, self.database.now_ms(), instance, keep=keep)
        await self.balancers.apply(instance)
        leaving = [each for each in self.endpoints(instance) if each.digest != keep]
        environment = self._environment(instance)
        cut = sum([await self.balancers.idle(environment, each, seconds) for each in leaving])
        with self.database.write() as db:
            for each in leaving:
                instances.remove_endpoint(db, instance, each.digest)
        await self.balancers.apply(instance)
        return cut

    async def terminate(self, instance: str) -> None:
        await self.leave(instance)
        with self.database.write() as db:
            instances.remove(db, instance)
        await self.balancers.apply()

    def endpoints(self, instance: str) -> list[Endpoint]:
        with self.database.read() as db:
            return instances.endpoints_of(db, instance)

    async def edge(self) -> dict[str, Any]:
        """What the edge itself says of its endpoints."""
        answer: dict[str, Any] = await (await self.agent.client()).call("GET", "/endpoints")
        return answer

    async def until_edge(self, environment: str, key: str, **wanted: Any) -> None:
        async def seen() -> bool:
            found = (await self.edge())["pools"].get(environment, {}).get(key, {})
            return all(found.get(name) == value for name, value in wanted.items())

        await until(seen)

    async def get(
        self, host: str = HOST, port: int | None = None, address: str = "127.0.0.1", header: str = "X-Nothing: 1"
    ) -> tuple[int, str]:
        """Status and version of one request."""
        reader, writer = await asyncio.open_connection(address, port or self.port)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n{header}\r\nConnection: close\r\n\r\n".encode())
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                body = await reader.read(-1)
        finally:
            writer.close()
        status = int(head.split(" ")[1])
        return status, json.loads(body)["version"] if status == 200 else body.decode()

    def _environment(self, instance: str) -> str:
        with self.database.read() as db:
            found = instances.find(db, instance)
        assert found is not None
        return found.environment_id


@asynccontextmanager
async def small_fleet(servers: int = 3) -> AsyncIterator[SmallFleet]:
    """A fleet of which nothing is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    fleet = SmallFleet(folder, servers)
    try:
        await fleet.balancers.start()
        yield fleet
    finally:
        agents = [fleet.agent, *(server.agent for server in fleet.servers.values())]
        await asyncio.gather(*(agent.end(0) for agent in agents if agent.ever_ran()))
        fleet.database.close()
        shutil.rmtree(folder)
