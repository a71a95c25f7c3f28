"""Pause: time passes once, whoever carries the operation on, and an abort ends it."""

from __future__ import annotations

import asyncio
from typing import Any

from engine_site import LIMIT, EngineSite

from beanpole.policies.plan import Pause
from beanpole.store import operations


def pause(seconds: float) -> Pause:
    return Pause(key="pause-1", slots=("i-1",), words="Wait", seconds=seconds)


def journal(site: EngineSite, number: int) -> dict[str, Any]:
    with site.database.read() as db:
        return operations.journal_of(db, number)


async def begun(site: EngineSite, number: int) -> None:
    while "forward/pause-1/i-1/since" not in journal(site, number):  # noqa: ASYNC110 (it shows in the database alone)
        await asyncio.sleep(0.01)


def test_who_carries_on_waits_for_what_is_left_only(site: EngineSite) -> None:
    number = site.submit(pause(300.0))

    async def interrupted() -> None:
        async with site.engine(), asyncio.timeout(LIMIT):
            await begun(site, number)

    asyncio.run(interrupted())
    assert site.operation(number).phase == "forward"
    clock = site.database.clock
    site.database.clock = lambda: clock() + 299.9
    assert site.carry_out(number).outcome == "succeeded"
    assert journal(site, number)["forward/pause-1/i-1"] == {"seconds": 300.0}


def test_a_clock_that_is_put_back_makes_nobody_wait_for_longer_than_the_whole(site: EngineSite) -> None:
    number = site.submit(pause(0.3))
    clock = site.database.clock

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await begun(site, number)
            site.database.clock = lambda: clock() - 3600
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "succeeded"


def test_an_abort_ends_it(site: EngineSite) -> None:
    number = site.submit(pause(3600.0))

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await begun(site, number)
            with site.database.write() as db:
                operations.ask_abort(db, "e-1")
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "aborted"
