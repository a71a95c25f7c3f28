"""The edge balancer: the agent beside Envoy, told the whole truth of the database each time something changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from beanpole.balancer import pool as pools
from beanpole.balancer.bootstrap import bootstrap
from beanpole.balancer.lint import lint
from beanpole.balancer.snapshot import snapshot
from beanpole.fleet.agent_client import AgentRefused
from beanpole.store import environments, instances
from beanpole.store.facts import count_up, raise_to

if TYPE_CHECKING:
    from pathlib import Path

    from beanpole.fleet.agent_client import AgentClient
    from beanpole.fleet.detached import DetachedAgent
    from beanpole.store.database import Database

LOOK = 0.05
"""Seconds between looks at the balancer's view of an endpoint."""

SETTLED = 2
"""Looks in a row without a request before an endpoint is idle: Envoy's workers learn of a change a moment after it was
acknowledged, so that one request may still be on its way to an endpoint that drains."""


START_LIMIT = 30.0
"""Seconds for Envoy to take its first connection."""

APPLY_LIMIT = 30.0
"""Seconds for Envoy to acknowledge a snapshot; it takes milliseconds."""


log = structlog.get_logger("balancer")


class BalancerRefused(Exception):
    """The balancer cannot do what it was told; the message has the cause and the remedy."""


@dataclass(frozen=True)
class Listen:
    """Where users' requests arrive, and the domain below which environments have their names."""

    address: str
    port: int
    domain: str


class EdgeProxy:
    def __init__(self, database: Database, agent: DetachedAgent, store: str, binary: Path, listen: Listen) -> None:
        self._database = database
        self._agent = agent
        self._store = store
        self._binary = binary
        self._edge = pools.Edge(listen.address, listen.port, listen.domain)
        self.listen = listen
        self._applying = asyncio.Lock()
        self._asked = 0
        self._applied = 0

    def cname(self, prefix: str) -> str:
        """What a browser opens. It names the port because clients open it as it is."""
        port = "" if self.listen.port == 80 else f":{self.listen.port}"
        return f"{prefix}.{self.listen.domain}{port}"

    async def start(self) -> None:
        """Envoy runs with the present state of the database, or goes on running with it."""
        client = await self._agent.client()
        # A restored backup counts from where it was, and Envoy takes no snapshot that is older than the one it has.
        applied = (await client.call("GET", "/envoy"))["version"]
        await asyncio.to_thread(self._count_beyond, int(applied))
        setup = {
            "binary": str(self._binary),
            "bootstrap": bootstrap(),
            "listen": {"address": self.listen.address, "port": self.listen.port},
        }
        try:
            await client.call("PUT", "/envoy", setup, timeout=START_LIMIT)
            await self.apply()
        except AgentRefused as refusal:
            remedy = refusal.body.get("remedy", "")
            raise BalancerRefused(f"{refusal.message.rstrip('.')}. {remedy}".strip()) from refusal

    async def keep_alive(self) -> None:
        """The agent is started again if it died; it finds Envoy as it was."""
        self._agent.reap()
        if await self._agent.running() is None:
            await self.start()
        elif self._applied < self._asked and not self._applying.locked():
            await self.apply()

    async def running(self) -> AgentClient | None:
        """The balancer's agent if it answers; nothing is started."""
        return await self._agent.running()

    async def apply(self) -> None:
        """Returns when Envoy has taken over the state that the database had at the call, or a later one.

        Calls that come while one is under way share the next.
        """
        self._asked += 1
        mine = self._asked
        async with self._applying:
            if self._applied >= mine:
                return
            covered = self._asked
            wanted = await asyncio.to_thread(self._snapshot)
            client = await self._agent.client()
            await client.call("PUT", "/snapshot", wanted.request(self._store), timeout=APPLY_LIMIT)
            self._applied = covered

    async def healthy(self, environment_id: str, address: str, port: int, seconds: float) -> bool:
        """Whether Envoy finds the endpoint healthy within so many seconds."""
        limit = asyncio.get_running_loop().time() + seconds
        while True:
            seen = (await self._look()).get(environment_id, {}).get(pools.Endpoint(address, port).key)
            if seen is not None and seen["healthy"]:
                return True
            if asyncio.get_running_loop().time() > limit:
                return False
            await asyncio.sleep(LOOK)

    async def idle(self, environment_id: str, address: str, port: int, seconds: float) -> int:
        """Wait until the endpoint has no request, so many seconds at most; the number of those that it still has."""
        limit = asyncio.get_running_loop().time() + seconds
        calm = 0
        while True:
            view = await self._look()
            seen = view.get(environment_id, {}).get(pools.Endpoint(address, port).key)
            active = int(seen["active"]) if seen is not None else 0
            calm = calm + 1 if view and active == 0 else 0
            if calm >= SETTLED:
                return 0
            if asyncio.get_running_loop().time() > limit:
                return active
            await asyncio.sleep(LOOK)

    async def view(self) -> dict[str, Any]:
        """Pools by environment id, each endpoint with its health and the requests that it has."""
        return await self._look()

    async def requests(self, after: int) -> dict[str, Any]:
        """Counts by second since `after` (seconds since 1970), and totals since the first request."""
        client = await self._agent.client()
        return await client.call("GET", f"/requests?after={after}")

    async def totals(self, environment_id: str) -> dict[str, int]:
        """`requests` and `failed` of the environment since its first request."""
        counted = await self.requests(int(self._database.clock()))
        found: dict[str, int] = counted["totals"].get(environment_id, {"requests": 0, "failed": 0})
        return found

    async def client(self) -> AgentClient:
        return await self._agent.client()

    async def _look(self) -> dict[str, Any]:
        """Nothing while Envoy is just starting anew."""
        client = await self._agent.client()
        try:
            found: dict[str, Any] = (await client.call("GET", "/endpoints"))["pools"]
        except AgentRefused as refusal:
            if refusal.status != 503:
                raise
            return {}
        return found

    def _count_beyond(self, version: int) -> None:
        with self._database.write() as db:
            raise_to(db, "snapshot", version)

    def _snapshot(self) -> Any:
        # Number and content in one transaction, so that of two snapshots the one with the higher number is the later.
        with self._database.write() as db:
            version = count_up(db, "snapshot")
            live = environments.listed(db)
            endpoints = {environment.id: instances.endpoints(db, environment.id) for environment in live}
        wanted = [
            pools.Pool(
                name=environment.id,
                hosts=(f"{environment.cname_prefix}.{self.listen.domain}",) if environment.cname_prefix else (),
                endpoints=tuple(
                    pools.Endpoint(each.address, each.port, each.state) for each in endpoints[environment.id]
                ),
                health=_health(endpoints[environment.id]),
            )
            for environment in live
            # The name of one that is being terminated goes with its last endpoint, before its end is told.
            if endpoints[environment.id] or environment.status != "Terminating"
        ]
        return snapshot([pool for pool in wanted if _is_good(pool)], version, self._edge)


def _is_good(pool: pools.Pool) -> bool:
    """One environment that cannot be served must not keep all others from changing."""
    problems = lint([pool])
    if problems:
        log.error("an environment is not served, because its pool is wrong", problems=problems)
    return not problems


def _health(endpoints: list[instances.Endpoint]) -> pools.Health:
    """The check that all endpoints share; while releases with different checks run side by side, a TCP connection.

    One path for both would take the old release out of rotation before the new one is there.
    """
    checks = {endpoint.health for endpoint in endpoints}
    if len(checks) == 1:
        return msgspec.json.decode(checks.pop(), type=pools.Health)
    return pools.Health(path=None, interval=1.0, timeout=2.0, unhealthy=2, healthy=1)
