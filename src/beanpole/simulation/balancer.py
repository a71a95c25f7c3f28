"""The simulated balancer: what it was told, what it finds healthy, and where a request would go at this instant."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from beanpole.balancer.pool import Health
from beanpole.fleet.edges import Listen
from beanpole.fleet.proxy import LOOK, SETTLED, BalancerUnreachable
from beanpole.simulation.store import refuse_dead
from beanpole.simulation.traffic import Traffic
from beanpole.store import instances
from beanpole.store.facts import count_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from beanpole.simulation.loop import Process
    from beanpole.simulation.machine import Web
    from beanpole.simulation.store import Store
    from beanpole.simulation.world import World
    from beanpole.store.database import Database
    from beanpole.store.instances import Endpoint

Key = tuple[str, str]
"""Instance and digest."""

FIRST_CHECK = 0.02
"""Seconds from being told of an endpoint to its first health check."""


class Seat:
    """One endpoint, as the balancer has it since `told_at`."""

    def __init__(self, endpoint: Endpoint, told_at: float) -> None:
        self.endpoint = endpoint
        self.told_at = told_at
        self.serving = endpoint.state == "serving" and endpoint.weight > 0

    @property
    def patience(self) -> float:
        """Seconds of failing checks until it is unhealthy."""
        health = _health(self.endpoint.health)
        return health.unhealthy * health.interval


@cache
def _health(text: str) -> Health:
    return msgspec.json.decode(text, type=Health)


class Snapshot(NamedTuple):
    """What balancers are told. `names`: which environment each leads to; `homes`: of which one an instance is."""

    version: int
    endpoints: list[Endpoint]
    names: dict[str, str]
    homes: dict[str, str]

    @classmethod
    def read(cls, db: sa.Connection, store: Store, version: int) -> Snapshot:
        names = dict(store.ask("SELECT cname_prefix, id FROM environment WHERE terminated_at IS NULL"))
        homes = dict(store.ask("SELECT id, environment_id FROM instance"))
        return cls(version, instances.endpoints(db), names, homes)


class Edge:
    """The one balancer of a world. `silent`: it cannot be told anything, nor asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._version = 0
        self.seats: dict[Key, Seat] = {}
        self.left: dict[Key, float] = {}
        """When an endpoint last got a new request."""
        self.silent = 0
        self.traffic = Traffic(world, world.scenario.rate)
        self.names: dict[str, str] = {}
        self.homes: dict[str, str] = {}

    def tell(self, snapshot: Snapshot) -> None:
        """An older snapshot than the last one changes nothing."""
        if snapshot.version <= self._version:
            return
        self._version, endpoints, self.names, self.homes = snapshot
        now, before = self.world.loop.time(), self.seats
        self.seats = {}
        for endpoint in endpoints:
            key = (endpoint.instance_id, endpoint.digest)
            known = before.get(key)
            if known is not None and known.endpoint == endpoint:
                self.seats[key] = known
            elif known is not None and known.endpoint.port == endpoint.port:
                self.seats[key] = Seat(endpoint, known.told_at)
            else:
                self.seats[key] = Seat(endpoint, now)
        for key, seat in before.items():
            if seat.serving and not (key in self.seats and self.seats[key].serving):
                self.left[key] = now
        self.world.moved()

    def mine(self) -> list[Seat]:
        """Those of the environment that everything is about."""
        home = self.world.environment
        return [seat for seat in self.seats.values() if self.homes[seat.endpoint.instance_id] == home]

    def begin(self) -> None:
        """What it knows it has known for a long time."""
        self._version = 0
        for seat in self.seats.values():
            seat.told_at = -3600.0

    def web(self, seat: Seat) -> Web | None:
        """What answers at the endpoint."""
        machine = self.world.machines.get(seat.endpoint.instance_id)
        if machine is None or not machine.on:
            return None
        return next((web for web in machine.webs.values() if web.port == seat.endpoint.port), None)

    def healthy(self, seat: Seat) -> bool:
        """By its checks so far: a moment after it was told, then as often as the settings say in a row."""
        now, web = self.world.loop.time(), self.web(seat)
        if web is not None and web.works:
            return now >= max(seat.told_at, web.since) + FIRST_CHECK
        since = web.since if web is not None else self.world.off_since.get(seat.endpoint.instance_id, seat.told_at)
        if since <= seat.told_at:
            return False
        return now < since + seat.patience

    def serving(self) -> Iterator[tuple[Seat, Web]]:
        """The endpoints that answer a request at this instant."""
        for seat in self.seats.values():
            if seat.serving and (web := self.web(seat)) is not None and web.works:
                yield seat, web

    def busy_until(self, key: Key) -> float | None:
        """When the last request that it got will have ended; None: it still gets requests."""
        seat = self.seats.get(key)
        if seat is not None and seat.serving:
            return None
        left = self.left.get(key)
        return left + self.world.scenario.request if left is not None else 0.0


class SimulatedBalancers:
    """Balancers as one control plane has them."""

    def __init__(self, edge: Edge, database: Database, process: Process) -> None:
        self._edge = edge
        self._database = database
        self._process = process
        self._asked = self._told = 0
        self._telling = asyncio.Lock()
        self.listen = Listen("127.0.0.1", 80, "localhost")
        self.away = False
        self.fronts = ()

    def cname(self, prefix: str) -> str:
        return f"{prefix}.localhost"

    async def _way(self) -> None:
        await asyncio.sleep(0.001 + 0.004 * self._process.random.random())
        refuse_dead(self._process)
        if self._edge.silent:
            self._edge.world.feels("edge")
            raise BalancerUnreachable("the edge balancer does not answer (simulated)")

    async def apply(self, _instance: str | None = None) -> None:
        """Calls that come while one is under way share the next, as with the real ones."""
        self._asked += 1
        mine = self._asked
        async with self._telling:
            if self._told >= mine:
                return
            asked = self._asked
            snapshot = await asyncio.to_thread(self._read)
            await self._way()
            self._edge.tell(snapshot)
            self._told = asked

    def _read(self) -> Snapshot:
        with self._database.write() as db:
            return Snapshot.read(db, self._edge.world.store, count_up(db, "snapshot"))

    async def apply_everywhere(self) -> None:
        await self.apply()

    async def keep_alive(self) -> None:
        await self._way()
        if self._told < self._asked:
            await self.apply()

    async def healthy(self, _environment: str, endpoint: Endpoint, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        limit = loop.time() + seconds
        while True:
            await self._way()
            seat = self._edge.seats.get((endpoint.instance_id, endpoint.digest))
            if seat is not None and self._edge.healthy(seat):
                return True
            if loop.time() > limit:
                return False
            await asyncio.sleep(LOOK)

    async def idle(self, _environment: str, endpoint: Endpoint, seconds: float) -> int:
        loop = asyncio.get_running_loop()
        limit = loop.time() + seconds
        while True:
            await self._way()
            until = self._edge.busy_until((endpoint.instance_id, endpoint.digest))
            if until is not None and until <= loop.time():
                return 0
            if loop.time() > limit:
                return 1
            await asyncio.sleep(LOOK if until is None else min(until, limit) - loop.time() + LOOK * SETTLED)

    async def view(self) -> dict[str, Any]:
        await self._way()
        pools: dict[str, dict[str, Any]] = {}
        for seat in self._edge.seats.values():
            endpoint = seat.endpoint
            pool = pools.setdefault(self._edge.homes[endpoint.instance_id], {})
            seen = {"healthy": self._edge.healthy(seat), "active": 0, "state": endpoint.state}
            pool[f"{endpoint.address}:{endpoint.port}"] = seen
        return pools

    def leads_to(self, _environment: str) -> bool:
        return True

    async def settle(self, _seconds: float) -> None:
        """There are no other balancers to wait for."""

    async def canary(self, _environment: str) -> list[dict[str, Any]]:
        """Nobody chooses."""
        await self._way()
        return []

    async def requests(self, after: int) -> dict[str, Any]:
        await self._way()
        return self._edge.traffic.since(after)

    async def totals(self, _environment: str) -> dict[str, int]:
        await self._way()
        return {"requests": int(asyncio.get_running_loop().time()), "failed": 0}
