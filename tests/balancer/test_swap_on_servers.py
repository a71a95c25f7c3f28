"""Two environments exchange their names on servers that each has for itself or shares: real proxies, a counted load."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from small_fleet import SmallFleet, small_fleet

from beanpole.control import swap
from beanpole.control.context import By
from beanpole.operations.steps.swap import swap as carry_out
from beanpole.operations.work import Work
from beanpole.policies import plan as plans
from beanpole.store import environments, operations
from load import Load, Settings

pytestmark = pytest.mark.slow


async def swapped(fleet: SmallFleet, one: str, other: str) -> None:
    """The operation, from the call to its end, as the engine carries it out."""
    control: Any = SimpleNamespace(database=fleet.database)
    parts: Any = SimpleNamespace(database=fleet.database, balancers=fleet.balancers)
    with fleet.database.write() as db:
        first, second = environments.find(db, one), environments.find(db, other)
        assert first is not None
        assert second is not None
        swap.begin(db, control, By("ada", "R"), first, second)
    held = operations.claim(fleet.database, "test", 60_000)
    assert held is not None
    (step,) = plans.decode(held.plan).steps
    await carry_out(Work(parts, held, first, "forward", step, one, "", None))
    with operations.holding(fleet.database, held) as db:
        operations.finish(db, held, fleet.database.now_ms(), "succeeded")


@pytest.mark.long
def test_no_request_by_either_name_is_lost() -> None:
    """`a` and `b` share no server, `c` shares one with each, and `d` has both of `a` and `b` beside it."""

    async def run() -> None:
        async with small_fleet(3) as fleet:
            places = {"a": ("h-1", "h-3"), "b": ("h-2", "h-3"), "c": ("h-1", "h-2"), "d": ("h-3",)}
            ids = {name: fleet.environment(name) for name in places}
            for name, hosts in places.items():
                for host in hosts:
                    await fleet.serve(fleet.instance(ids[name], host), name)
            loads = [
                Load(Settings(port=fleet.port, host=f"{name}.localhost", rate=10, path="/", idle=1)) for name in places
            ]
            a, b, c, d = loads
            async with a, b, c, d:
                await asyncio.gather(*(load.more(10) for load in loads))
                await swapped(fleet, ids["a"], ids["b"])
                await asyncio.gather(*(load.more(20) for load in loads))
                assert [await fleet.get(f"{name}.localhost") for name in "ab"] == [(200, "b"), (200, "a")]
                await fleet.balancers.apply()
                await asyncio.gather(*(load.more(10) for load in loads))
            for load, seen in zip(loads, ("ab", "ab", "c", "d"), strict=True):
                report = load.report()
                assert report.failed == 0, (report.kinds, report.failures[:5])
                assert set(report.versions) == set(seen)

    asyncio.run(run())


def test_a_server_that_cannot_be_told_keeps_nobody_from_swapping() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            ids = {name: fleet.environment(name) for name in "ab"}
            for name, host in (("a", "h-1"), ("b", "h-2")):
                await fleet.serve(fleet.instance(ids[name], host), name)
            fleet.servers["h-1"].cut = True
            await swapped(fleet, ids["a"], ids["b"])
            # It has its server for itself, so that its proxy takes whatever name comes.
            assert [await fleet.get(f"{name}.localhost") for name in "ab"] == [(200, "b"), (200, "a")]

    asyncio.run(run())


def test_a_shared_server_that_hears_of_it_late_takes_the_new_name_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            ids = {name: fleet.environment(name) for name in "abc"}
            for name, host in (("a", "h-1"), ("c", "h-1"), ("b", "h-2")):
                await fleet.serve(fleet.instance(ids[name], host), name)
            everywhere = fleet.balancers.apply_everywhere

            async def then_cut() -> None:
                await everywhere()
                fleet.servers["h-1"].cut = True

            monkeypatch.setattr(fleet.balancers, "apply_everywhere", then_cut)
            await swapped(fleet, ids["a"], ids["b"])
            assert [await fleet.get(f"{name}.localhost") for name in "abc"] == [(200, "b"), (200, "a"), (200, "c")]

    asyncio.run(run())
