"""The balancers in front of everything: the one that names lead to, and those beside it.

When names lead elsewhere, requests still come through the edge of before, for as long as somebody has its address. So
it is told the same as the others, until a person ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.balancer import pool as pools
from beanpole.fleet.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from beanpole.fleet.proxy import Post


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
    """`post`: where the edge is on the server with that id; None: on this machine."""

    def __init__(self, post: Callable[[str | None], Post], store: str, renew: Callable[[int], Awaitable[None]]) -> None:
        self._post = post
        self._store = store
        self._renew = renew
        self._known: dict[str | None, Proxy] = {}
        self.ended: set[str | None] = set()
        """Where one is ended, or was, and is not to be started again."""

    def follow(self, fronts: Sequence[Front]) -> None:
        """These there are, and names lead to the first. Those of one place are one, with several domains."""
        known: dict[str | None, Proxy] = {}
        for front in fronts:
            if front.host not in known:
                known[front.host] = self._proxy(front)
        self._known = known
        self.ended &= set(known)

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
        return {host: proxy for host, proxy in list(self._known.items())[1:] if host not in self.ended}

    def _proxy(self, front: Front) -> Proxy:
        known = self._known.get(front.host)
        if known is not None and known.edge == front.bound:
            return known
        return Proxy(front.name, self._post(front.host), self._store, front.bound, self._renew)
