"""Keeps servers as they are left by `hosts add`: the present programs on them, and nothing that nobody needs any more.

An agent that has a job keeps its program until the next look. A server that cannot be reached is looked at again soon:
what was to end there meanwhile ends when it is back, and no proxy leads there any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.servers.place import agent_errors
from beanpole.store import hosts

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.fleet.balancers import Balancers
    from beanpole.fleet.servers.place import ServerPlace
    from beanpole.fleet.servers.servers import Servers
    from beanpole.fleet.servers.setup import Setup
    from beanpole.store.database import Database
    from beanpole.store.hosts import Host

FIRST = 10.0
"""Seconds after the start: operations that were interrupted go on first."""

PERIOD = 600.0
"""Seconds between looks: an upgrade waits that long for an agent that has a job."""

PRUNES = 36
"""Looks between two clean-ups of a server: six hours, as for what lies here."""

AGAIN = 10.0
"""Seconds until a server that could not be reached is looked at again."""

TOGETHER = 4
"""Servers that are looked at at the same time."""

log = structlog.get_logger("upkeep")


class Upkeep:
    """`needed`: the blobs, and the keys of layers, that must stay."""

    def __init__(
        self,
        database: Database,
        servers: Servers,
        setup: Setup,
        place: ServerPlace,
        balancers: Balancers,
        needed: Callable[[], tuple[set[str], set[str]]],
    ) -> None:
        self._database = database
        self._servers = servers
        self._setup = setup
        self._place = place
        self._balancers = balancers
        self._needed = needed
        self._together = asyncio.Semaphore(TOGETHER)
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(FIRST)
        look = 0
        while True:
            look += 1
            await self.once(prune=look % PRUNES == 0)
            for _ in range(int(PERIOD / AGAIN)):
                await asyncio.sleep(AGAIN)
                await self._once(self._silent | self._place.left.keys(), prune=False)

    async def once(self, *, prune: bool) -> None:
        await self._once(None, prune=prune)

    async def _once(self, only: set[str] | None, *, prune: bool) -> None:
        """Those with these ids; None: all."""
        with self._database.read() as db:
            ready = [host for host in hosts.listed(db) if host.state == "ready"]
        await asyncio.gather(*(self._keep(host, prune) for host in ready if only is None or host.id in only))

    async def _keep(self, host: Host, prune: bool) -> None:
        async with self._together:
            try:
                server = self._servers.server(host.id)
                with agent_errors(server):
                    done = await self._setup.install(server)
                if done.changed:
                    log.info("a server has the present programs", host=host.name, waiting=done.waiting)
                if done.proxied:
                    await self._balancers.attend(host.id)
                await self._place.clear_leftovers(host.id)
                if prune:
                    removed = await self._place.prune(host.id, *await asyncio.to_thread(self._needed))
                    log.info("a server was cleaned up", host=host.name, removed=removed)
            except AgentError as problem:
                if host.id not in self._silent:
                    log.warning("a server cannot be looked after", host=host.name, problem=str(problem))
                self._silent.add(host.id)
            else:
                self._silent.discard(host.id)
