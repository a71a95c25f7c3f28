"""One Envoy and the agent beside it, wherever they are: set up once, told whole snapshots, asked what it sees.

What it shall serve is written down here by `want`, which never waits; `apply` brings it there, now or at a later try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from beanpole.balancer.bootstrap import bootstrap
from beanpole.fleet.agent_client import AgentClient, AgentError, AgentRefused, AgentUnreachable
from beanpole.fleet.detached import AgentWillNotStart

if TYPE_CHECKING:
    from pathlib import Path

    from beanpole.balancer.pool import Edge
    from beanpole.balancer.snapshot import Snapshot
    from beanpole.fleet.detached import DetachedAgent

T = TypeVar("T")

START_LIMIT = 30.0
"""Seconds for Envoy to take its first connection."""

APPLY_LIMIT = 30.0
"""Seconds for Envoy to acknowledge a snapshot; it takes milliseconds."""

LOOK = 0.05
"""Seconds between looks at a balancer's view of an endpoint."""

LOOK_LIMIT = 3.0
"""Seconds for one to say what it sees, when others are waited for at the same time."""

SETTLED = 2
"""Looks in a row without a request before an endpoint is idle: Envoy's workers learn of a change a moment after it was
acknowledged, so that one request may still be on its way to an endpoint that drains."""

TROUBLE = (AgentError, AgentWillNotStart)
"""What may be wrong with an agent, or on the way to it."""

log = structlog.get_logger("balancer")


class BalancerUnreachable(AgentUnreachable):
    """The edge does not answer. That says nothing about any instance."""


class BalancerRefused(AgentError):
    """The balancer cannot do what it was told; `cause` has the remedy, too, and the message also which balancer."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.cause = cause


@dataclass(frozen=True)
class Post:
    """Where an Envoy is. `client` is the agent beside it, started if that is ours to do; `running` starts nothing and
    gives None when nobody answers; `envoy` is the program's path there. Errors: TROUBLE, and OSError on the way."""

    client: Callable[[], Awaitable[AgentClient]]
    running: Callable[[], Awaitable[AgentClient | None]]
    envoy: Callable[[], Awaitable[str]]
    end: Callable[[], Awaitable[None]] | None = None
    """Envoy and its agent end, and may be started again."""

    @classmethod
    def here(cls, agent: DetachedAgent, binary: Path) -> Post:
        """On this machine."""

        async def running() -> AgentClient | None:
            agent.reap()
            return await agent.running()

        async def envoy() -> str:
            return str(binary)

        async def end() -> None:
            await agent.leave(processes=True)

        return cls(agent.client, running, envoy, end)

    @classmethod
    def there(
        cls,
        client: Callable[[], Awaitable[AgentClient]],
        envoy: Callable[[], Awaitable[str]],
    ) -> Post:
        """On a server, where systemd keeps the agent running."""
        return cls(client, client, envoy)

    @classmethod
    def nowhere(cls, host_id: str) -> Post:
        """On a server to which there is no way."""

        async def client() -> AgentClient:
            raise AgentUnreachable(f"there is no way to the host {host_id}")

        async def envoy() -> str:
            raise AgentUnreachable(f"there is no way to the host {host_id}")

        return cls.there(client, envoy)


class Proxy:
    """`name` is how messages call it. `renew` reads the database again and calls `want`, with snapshots whose numbers
    are above the given one."""

    def __init__(self, name: str, post: Post, store: str, edge: Edge, renew: Callable[[int], Awaitable[None]]) -> None:
        self.name = name
        self.edge = edge
        self._post = post
        self._store = store
        self._renew = renew
        self._wanted: Snapshot | None = None
        self._told: Snapshot | None = None
        self._set_up = False
        self._telling = asyncio.Lock()

    def want(self, snapshot: Snapshot) -> None:
        """From now on it shall serve this. The same files again change nothing."""
        if self._wanted is None or self._wanted.files != snapshot.files:
            self._wanted = snapshot

    @property
    def behind(self) -> bool:
        """Whether it has yet to be told something, and nobody is doing that."""
        return self._told is not self._wanted and not self._telling.locked()

    async def start(self) -> None:
        """Envoy runs as it is to be run, and serves what is wanted. TROUBLE; BalancerRefused with cause and remedy."""
        self._set_up, self._told = False, None
        await self.apply()

    async def apply(self) -> None:
        """Returns when Envoy serves what was wanted at the call, or what was wanted later.

        Errors are TROUBLE; then it is not known whether it does. Calls that come while one is under way share what it
        brings about.
        """
        async with self._telling:
            while self._told is not self._wanted or not self._set_up:
                try:
                    client = await self._on_the_way(self._post.client())
                    if not self._set_up:
                        await self._run_envoy(client)
                    wanted = self._wanted
                    if wanted is not None:
                        await client.call("PUT", "/snapshot", wanted.request(self._store), timeout=APPLY_LIMIT)
                    self._told = wanted
                except AgentUnreachable as silence:
                    raise self._silent(silence) from silence
                except AgentRefused as refusal:
                    self._set_up = False
                    raise self._refused(refusal) from refusal

    async def look(self) -> dict[str, Any]:
        """Pools, each with its endpoints by `address:port`: {"healthy", "active", "state"}. Nothing is started.

        Nothing at all while Envoy is just starting anew. TROUBLE.
        """
        try:
            answer = await (await self._running()).call("GET", "/endpoints")
        except AgentUnreachable as silence:
            raise self._silent(silence) from silence
        except AgentRefused as refusal:
            if refusal.status != 503:
                raise
            # Perhaps it is to be run again from the beginning: a server may have been made anew.
            self._doubt()
            return {}
        if self._told is not None and answer["version"] < self._told.version:
            log.warning("a balancer serves less than it was told", of=self.name, version=answer["version"])
            self._doubt()
        found: dict[str, Any] = answer["pools"]
        return found

    async def glimpse(self) -> dict[str, Any] | None:
        """As `look`, within LOOK_LIMIT; None when there is nothing to be seen, or it cannot be asked."""
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                return await self.look() or None
        except (*TROUBLE, TimeoutError):
            return None

    async def requests(self, after: int) -> dict[str, Any]:
        """Counts by second since `after` (seconds since 1970, its clock), and totals. Nothing is started. TROUBLE."""
        return await (await self._running()).call("GET", f"/requests?after={after}")

    async def end(self) -> None:
        """Envoy and the agent beside it end, whatever requests there are. TROUBLE."""
        if self._post.end is not None:
            await self._on_the_way(self._post.end())

    async def running(self) -> bool:
        return await self._on_the_way(self._post.running()) is not None

    async def _running(self) -> AgentClient:
        client = await self._on_the_way(self._post.running())
        if client is None:
            raise AgentUnreachable(f"nobody answers beside {self.name}")
        return client

    async def _run_envoy(self, client: AgentClient) -> None:
        # A restored backup counts from where it was, and no agent takes a snapshot that is older than the one it has.
        applied = int((await client.call("GET", "/envoy"))["version"])
        if self._wanted is None or self._wanted.version <= applied:
            self._wanted = None
            await self._renew(applied)
        setup = {
            "binary": await self._on_the_way(self._post.envoy()),
            "bootstrap": bootstrap(),
            "listen": {"address": self.edge.address, "port": self.edge.port},
        }
        await client.call("PUT", "/envoy", setup, timeout=START_LIMIT)
        self._set_up = True

    async def _on_the_way(self, there: Awaitable[T]) -> T:
        try:
            return await there
        except OSError as problem:
            raise AgentUnreachable(f"{self.name} cannot be reached: {problem}") from problem

    def _silent(self, silence: AgentUnreachable) -> AgentUnreachable:
        """A server's proxy is silent with its server; without the edge nobody can be told anything."""
        return silence if self.edge.inner else BalancerUnreachable(f"{self.name} does not answer: {silence}")

    def _refused(self, refusal: AgentRefused) -> BalancerRefused:
        remedy = refusal.body.get("remedy", "")
        if self.edge.inner and "port" in refusal.body:
            remedy = "Stop it there, or choose another port for requests to this server."
        return BalancerRefused(self.name, f"{refusal.message.rstrip('.')}. {remedy}".strip())

    def _doubt(self) -> None:
        if not self._telling.locked():
            self._set_up, self._told = False, None
