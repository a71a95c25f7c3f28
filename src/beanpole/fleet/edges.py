"""The balancers in front of everything: the one that names lead to, and those beside it.

When names lead elsewhere, requests still come through the edge of before, for as long as somebody has its address. So
it is told the same as the others, until a person ends it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.balancer import pool as pools
from beanpole.fleet.proxy import LOOK, SETTLED, Proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from beanpole.fleet.proxy import Post
    from beanpole.fleet.telling import Telling

TELLING_LIMIT = 10.0
"""Seconds for an edge that ends to have heard what it is just being told."""


@dataclass(frozen=True)
class Listen:
    """Where users' requests arrive, and the domain below which environments have their names."""

    address: str
    port: int
    domain: str


@dataclass(frozen=True)
class Front:
    """One of them, on the server `host`; None: on this machine. `name` is how messages call it."""

    host: str | None
    name: str
    listen: Listen

    @property
    def url(self) -> str:
        """Of whatever users connect to; which environment answers is the Host's."""
        address = self.listen.address
        return f"http://{f'[{address}]' if ':' in address else address}:{self.listen.port}"

    @property
    def bound(self) -> pools.Edge:
        """A server is reached by a name or an address that need not be its own, so it listens everywhere."""
        address = self.listen.address
        if self.host is not None:
            address = "::" if ":" in address else "0.0.0.0"  # noqa: S104
        return pools.Edge(address, self.listen.port, self.listen.domain)


class Edges:
    """`post`: where the edge is on the server with that id; None: on this machine. `telling` tells those beside."""

    def __init__(
        self,
        post: Callable[[str | None], Post],
        store: str,
        renew: Callable[[int], Awaitable[None]],
        telling: Telling,
    ) -> None:
        self._post = post
        self._store = store
        self._renew = renew
        self._telling = telling
        self._known: dict[str | None, Proxy] = {}
        self._ended: set[str | None] = set()  # where one is ended, or was, and is not to be started again

    def follow(self, fronts: Sequence[Front]) -> None:
        """These there are, and names lead to the first. Those of one place are one, with several domains."""
        known: dict[str | None, Proxy] = {}
        for front in fronts:
            if front.host not in known:
                known[front.host] = self._proxy(front)
        self._known = known
        self._ended &= set(known)

    @property
    def leading(self) -> Proxy:
        return next(iter(self._known.values()))

    @property
    def every(self) -> Mapping[str | None, Proxy]:
        """The one that leads is the first."""
        return self._known

    @property
    def beside(self) -> Mapping[str | None, Proxy]:
        """The others, but for those that are ended."""
        return {host: proxy for host, proxy in list(self._known.items())[1:] if host not in self._ended}

    async def recent(self, host_id: str | None) -> int:
        """Requests of the last minute through the edge there. TROUBLE."""
        counted = await self._known[host_id].requests(0)
        return sum(
            counts.get(kind, 0)
            for second, found in counted["seconds"].items()
            if int(second) > counted["now"] - 60
            for endpoints in found.values()
            for counts in endpoints.values()
            for kind in ("2xx", "3xx", "4xx", "5xx")
        )

    async def end(self, host_id: str | None, seconds: float) -> int:
        """An edge beside ends, as soon as it has no request, or after so many seconds; the requests that were cut.

        It is not started again for as long as the database has it there. TROUBLE.
        """
        proxy = self._known.get(host_id)
        if proxy is None:
            return 0
        self._ended.add(host_id)
        limit = asyncio.get_running_loop().time() + seconds
        calm = active = 0
        try:
            # Who tells it would make the agent anew that is about to go.
            await self._telling.stop(besides(host_id), TELLING_LIMIT)
            while calm < SETTLED and asyncio.get_running_loop().time() < limit:
                view = await proxy.glimpse()
                if view is None:
                    break
                active = sum(seen["active"] for endpoints in view.values() for seen in endpoints.values())
                calm = calm + 1 if not active else 0
                await asyncio.sleep(LOOK)
            await proxy.end()
        except BaseException:
            self._ended.discard(host_id)
            raise
        return active

    def _proxy(self, front: Front) -> Proxy:
        known = self._known.get(front.host)
        if known is not None and known.edge == front.bound:
            return known
        return Proxy(front.name, self._post(front.host), self._store, front.bound, self._renew)


def besides(host: str | None) -> str:
    """How the edge there is called while it is told."""
    return f"edge {host or 'here'}"
