"""Counts of several balancers together: nothing twice, nothing lost, whatever the clocks of servers say."""

from __future__ import annotations

import asyncio
from typing import Any

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.counts import Counts


class Told:
    """A balancer that counted one request each second at its endpoint; `ahead`: its clock."""

    def __init__(self, key: str, now: int, ahead: int = 0, *, pool: str = "e-1") -> None:
        self.key, self.now, self.ahead, self.pool = key, now, ahead, pool
        self.cut = False

    async def requests(self, after: int) -> dict[str, Any]:
        if self.cut:
            raise AgentUnreachable("cut off")
        now = self.now + self.ahead
        one = {"2xx": 1, "5xx": 0, "failed": 0, "latency_ms": [7]}
        seconds = {str(second): {self.pool: {self.key: one}} for second in range(max(after, now - 180) + 1, now + 1)}
        totals = {self.pool: {"requests": now - self.ahead, "failed": 1}}
        return {"now": now, "seconds": seconds, "totals": totals, "unreadable": 0}


def ask(counts: Counts, edge: Told, proxies: dict[str, Told], after: int) -> dict[str, Any]:
    return asyncio.run(counts.requests(edge, proxies, after))  # type: ignore[arg-type]


def of(answer: dict[str, Any], key: str) -> int:
    return sum(pools["e-1"].get(key, {"2xx": 0})["2xx"] for pools in answer["seconds"].values())


def test_every_second_is_told_once_whatever_the_clocks_say() -> None:
    counts, edge = Counts(), Told("-", 1000)
    proxies = {"h-1": Told("a", 1000, 500), "h-2": Told("b", 1000, -500), "h-3": Told("c", 999)}
    after, seen = 990, dict.fromkeys("abc", 0)
    for _ in range(4):
        answer = ask(counts, edge, proxies, after)
        for key in seen:
            seen[key] += of(answer, key)
        after = answer["now"]
        for each in (edge, *proxies.values()):
            each.now += 3
    assert after == 999 + 9
    assert seen == dict.fromkeys("abc", after - 990)


def test_a_server_in_front_is_told_by_its_own_proxy_and_totals_add_up() -> None:
    counts, edge, proxy = Counts(), Told("10.0.0.1:8080", 1000), Told("127.0.0.2:1", 1000)
    counts.know(["10.0.0.1:8080"])
    answer = ask(counts, edge, {"h-1": proxy}, 990)
    assert (of(answer, "10.0.0.1:8080"), of(answer, "127.0.0.2:1")) == (0, 10)
    assert answer["totals"] == {"e-1": {"requests": 2000, "failed": 2}}
    proxy.cut = True
    answer = ask(counts, edge, {"h-1": proxy}, 995)
    assert of(answer, "127.0.0.2:1") == 0
    assert answer["totals"] == {"e-1": {"requests": 2000, "failed": 2}}, "as last told"


def test_what_both_could_not_bring_to_anybody_adds_up() -> None:
    answer = ask(Counts(), Told("-", 1000), {"h-1": Told("-", 1000)}, 999)
    assert answer["seconds"] == {"1000": {"e-1": {"-": {"2xx": 2, "5xx": 0, "failed": 0, "latency_ms": [7, 7]}}}}
