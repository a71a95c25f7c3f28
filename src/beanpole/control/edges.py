"""Where the edge balancer is: on this machine, or on a server. It is changed while environments serve.

The new edge is there first, has been told everything, and finds the servers that the present one finds. Only then do
names lead to it. The one of before goes on, and is told everything, until somebody ends it: nobody here can know who
still has its address. Whatever goes wrong on the way leaves everything as it was. Runs in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

from beanpole.control import errors
from beanpole.fleet.proxy import TROUBLE
from beanpole.operations import placing
from beanpole.store import edges, environments, hosts
from beanpole.store.edges import HERE, Edge

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.control.context import Control
    from beanpole.control.hosts import Hosts
    from beanpole.store.hosts import Host

PORT = 80
"""Of an edge on a server, unless another one is named."""

FIND_LIMIT = 15.0
"""Seconds for the new edge to find what the present one finds. It needs one or two, or has no way there."""

MOVE_LIMIT = 40.0
"""Seconds for the whole move: the caller waits for it."""

UNDO_LIMIT = 10.0
"""Seconds for an edge that did not come about to go: a server that is not reached any more keeps what came so far."""

END_LIMIT = 30.0
"""Seconds for the requests of an edge that ends."""

_DOMAIN = re.compile(r"(?=.{1,200}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


class EdgeMoves:
    def __init__(self, control: Control, hosts_: Hosts) -> None:
        self._control = control
        self._hosts = hosts_
        self._moving = asyncio.Lock()

    async def to_host(self, name: str, port: int | None, domain: str | None) -> None:
        """Names lead to that server when this returns. Raises the API's error, and then nothing has changed."""
        async with self._moving:
            host, wanted = self._checked(name, port, domain)
            reached = await self._hosts.reachability(host)
            if reached.state != "yes":
                raise errors.invalid(
                    f"Host {name} cannot be reached, so the edge cannot move there: {reached.words}. Nothing was "
                    "changed."
                )
            await self._move(wanted, f"host {name}")

    async def home(self) -> None:
        """Names lead to this machine when this returns. Raises as `to_host`."""
        async with self._moving:
            await self._move(HERE, "this machine")

    async def end_others(self, *, force: bool) -> int:
        """The edges that names no longer lead to end; the requests that were cut. Raises the API's error, before any of
        them is ended, when one had requests within the last minute or cannot be asked, unless `force`.
        """
        async with self._moving:
            with self._control.database.read() as db:
                leading, *others = edges.listed(db)
                names = {host.id: f"host {host.name}" for host in hosts.listed(db)}
            where = {
                each.host: names.get(each.host or "", "this machine") for each in others if each.host != leading.host
            }
            if not force:
                for place, words in where.items():
                    await self._refuse_busy(place, words)
            cut = 0
            for place, words in where.items():
                try:
                    cut += await self._control.balancers.edges.end(place, END_LIMIT)
                except TROUBLE as problem:
                    if not force:
                        raise errors.invalid(f"The edge on {words} does not end: {problem}.") from problem
            with self._control.database.write() as db:
                edges.put(db, (leading,))
            await self._control.balancers.apply()
            return cut

    def _checked(self, name: str, port: int | None, domain: str | None) -> tuple[Host, Edge]:
        with self._control.database.read() as db:
            host = hosts.named(db, name)
            there = next((each for each in edges.listed(db) if host is not None and each.host == host.id), None)
        if host is None:
            raise errors.invalid(f"No Host named '{name}' found.")
        if host.state != "ready":
            raise errors.invalid(f"Host {name} is {host.state}, not ready. Nothing was changed.")
        number = port if port is not None else (there.port if there is not None else PORT)
        if not 0 < number < 65536:
            raise errors.invalid(f"{number} is no port: ports are 1 to 65535.")
        if number == host.app_port:
            raise errors.invalid(
                f"Port {number} of host {name} is that of its applications. Choose another port for the edge."
            )
        if there is not None and there.port != number:
            raise errors.invalid(
                f"An edge listens on host {name} already, on port {there.port}. Move the edge elsewhere and end that "
                "one first, or keep its port."
            )
        below = (domain or self._control.balancers.listen.domain).lower().rstrip(".")
        if not _DOMAIN.fullmatch(below):
            raise errors.invalid(f"'{domain}' is no domain.")
        return host, Edge(host.id, number, below)

    async def _move(self, wanted: Edge, where: str) -> None:
        balancers = self._control.balancers
        with self._control.database.write() as db:
            before = edges.listed(db)
            if wanted == before[0]:
                return
            if wanted.host is not None:
                _refuse_unreachable(db)
            edges.add(db, wanted)
        was_there = any(each.host == wanted.host for each in before)
        try:
            async with asyncio.timeout(MOVE_LIMIT):
                missing = await balancers.join(wanted.host, FIND_LIMIT)
            if missing:
                raise errors.invalid(
                    f"The edge on {where} finds no way to {', '.join(missing)}. Let {where} reach these ports. Nothing "
                    "was changed."
                )
        except (*TROUBLE, TimeoutError) as problem:
            await self._undo(before, wanted.host, was_there)
            said = str(problem).rstrip(".") or f"it was not ready within {MOVE_LIMIT:g} s"
            raise errors.invalid(f"The edge cannot move to {where}: {said}. Nothing was changed.") from problem
        except BaseException:
            await self._undo(before, wanted.host, was_there)
            raise
        with self._control.database.write() as db:
            edges.lead_to(db, wanted)
        await balancers.apply()

    async def _undo(self, before: tuple[Edge, ...], host_id: str | None, was_there: bool) -> None:
        balancers = self._control.balancers
        if not was_there:
            with contextlib.suppress(*TROUBLE, TimeoutError):
                async with asyncio.timeout(UNDO_LIMIT):
                    await balancers.edges.end(host_id, 0.0)
        with self._control.database.write() as db:
            edges.put(db, before)
        with contextlib.suppress(*TROUBLE):
            await balancers.apply()

    async def _refuse_busy(self, place: str | None, where: str) -> None:
        try:
            recent = await self._control.balancers.edges.recent(place)
        except TROUBLE as problem:
            raise errors.invalid(
                f"The edge on {where} cannot be asked whether it is in use: {problem}. Say force to end it all the "
                "same."
            ) from problem
        if recent:
            raise errors.invalid(
                f"{recent:,} requests came through the edge on {where} within the last minute. Lead them to "
                f"{self._control.balancers.listen.address} first, or say force to end it all the same."
            )


def refuse_local(db: sa.Connection, location: str) -> None:
    """Raises the API's error for a new environment on this machine, while the edge is elsewhere."""
    leading = edges.listed(db)[0].host
    if location == placing.LOCAL and leading is not None:
        host = hosts.find(db, leading)
        raise errors.invalid(
            f"The edge is on host {host.name if host else leading}, and reaches no instance on the control plane's "
            "machine. Create the environment with the location ssh, or bring the edge back: beanpole hosts edge "
            "--local."
        )


def refuse_removal(db: sa.Connection, host: Host, *, force: bool) -> None:
    """Raises the API's error for a server that requests come through; `force`: though only one of before is there."""
    leading, *others = edges.listed(db)
    if leading.host == host.id:
        raise errors.invalid(
            f"Host {host.name} has the edge, through which all requests come. Move it first: beanpole hosts edge."
        )
    if any(each.host == host.id for each in others) and not force:
        raise errors.invalid(
            f"Host {host.name} has an edge through which requests may still come. End it first: beanpole hosts edge "
            "--end-former. Or say force."
        )


def _refuse_unreachable(db: sa.Connection) -> None:
    here = [each.name for each in environments.listed(db) if not placing.lives_on_servers(db, each.id)]
    if here:
        raise errors.invalid(
            f"The edge cannot leave this machine: nothing elsewhere reaches the instances of {', '.join(here)}, which "
            "live here. Terminate them, or create them anew on servers."
        )
