"""Requests as all balancers together counted them: nothing twice, whatever way a request took.

Served and failed, in total, are what the row in front saw: the edge counts what came through it, so that what one
server could not bring to its application and another one answered is no failure. A server's proxy counts what did not
come through the edge: that of users with a balancer of their own.

In detail, by second and endpoint, a server's requests are as its proxy counted them, all of them, with what went wrong
at that endpoint. `-` is what nobody was asked for: at the edge, or at a proxy for requests that came from elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.fleet.proxy import TROUBLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beanpole.fleet.proxy import Proxy

LIMIT = 3.0
"""Seconds for a server's proxy to tell."""

TOLERANCE = 2
"""Seconds that a server's clock may differ: answers that are not quite of the same moment do."""

Tally = dict[str, Any]


class Counts:
    def __init__(self) -> None:
        self._servers: set[str] = set()
        self._ahead: dict[str, int] = {}
        self._totals: dict[str, dict[str, dict[str, int]]] = {}

    def know(self, servers: Iterable[str]) -> None:
        """These keys of the edge's endpoints are servers, whose own proxies tell the detail."""
        self._servers.update(servers)

    async def requests(
        self, edge: Proxy, proxies: Mapping[str, Proxy], after: int, beside: Mapping[str | None, Proxy] | None = None
    ) -> dict[str, Any]:
        """As the agents answer: {"now", "seconds", "totals", "unreadable"}. TROUBLE when the edge does not tell.

        `beside`: other edges, through which requests come as well.
        """
        edges = {f"edge {host}": proxy for host, proxy in (beside or {}).items()}
        others = {**proxies, **edges}
        front = await edge.requests(after)
        now: int = front["now"]
        told = await asyncio.gather(*(self._told(host, one, after, now) for host, one in others.items()))
        heard = [
            (each, self._servers if name in edges else frozenset[str]())
            for name, each in zip(others, told, strict=True)
            if each is not None
        ]
        # What one of them has not completed yet is told the next time, of all.
        until = min([now, *(each["now"] for each, _ in heard)])
        seconds: dict[str, dict[str, dict[str, Tally]]] = {}
        for answer, without in ((front, self._servers), *heard):
            for second, found in answer["seconds"].items():
                if after < int(second) <= until:
                    _add(seconds.setdefault(second, {}), found, without)
        return {
            "now": until,
            "seconds": dict(sorted(seconds.items(), key=lambda item: int(item[0]))),
            "totals": _sum([front["totals"], *(self._totals[name] for name in others if name in self._totals)]),
            "unreadable": front["unreadable"] + sum(each["unreadable"] for each, _ in heard),
        }

    async def _told(self, host: str, proxy: Proxy, after: int, now: int) -> dict[str, Any] | None:
        """What a server's proxy counted, in the time of the edge's machine: clocks of servers may be wrong."""
        try:
            async with asyncio.timeout(LIMIT):
                ahead = self._ahead.get(host, 0)
                answer = await proxy.requests(after + ahead)
                if abs(answer["now"] - ahead - now) > TOLERANCE:
                    ahead = self._ahead[host] = answer["now"] - now
                    answer = await proxy.requests(after + ahead)
        except (*TROUBLE, TimeoutError):
            return None
        self._totals[host] = answer["totals"]
        seconds = {str(int(second) - ahead): found for second, found in answer["seconds"].items()}
        return {**answer, "now": answer["now"] - ahead, "seconds": seconds}


def _add(
    into: dict[str, dict[str, Tally]], found: Mapping[str, Mapping[str, Tally]], without: Iterable[str] = ()
) -> None:
    for pool, endpoints in found.items():
        mine = into.setdefault(pool, {})
        for key in endpoints.keys() - set(without):
            known = mine.get(key)
            mine[key] = endpoints[key] if known is None else _both(known, endpoints[key])


def _both(one: Tally, other: Tally) -> Tally:
    """Counts are numbers and latencies are lists; both add up."""
    return {**one, **{name: one[name] + value if name in one else value for name, value in other.items()}}


def _sum(totals: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in totals:
        for pool, counts in each.items():
            mine = found.setdefault(pool, {"requests": 0, "failed": 0})
            for name in mine:
                mine[name] += counts.get(name, 0)
    return found
