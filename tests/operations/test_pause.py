"""Pause: time passes once, whoever carries the operation on, and an abort ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine_site import LIMIT, EngineSite

from beanpole.policies.plan import Pause
from beanpole.store import operations
from beanpole.store.database import Database

SLOTS = ("i-1",)


class Late(Database):
    """Its clock is `later` milliseconds ahead."""

    later = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.later


def pause(seconds: float) -> Pause:
    return Pause(key="pause-1", slots=SLOTS, words="Wait", seconds=seconds)


def test_who_carries_on_waits_for_what_is_left_only(tmp_path: Path) -> None:
    database = Late.at(tmp_path / "beanpole.db")
    assert isinstance(database, Late)
    site = EngineSite(database)
    number = site.submit(pause(300.0))

    async def interrupted() -> None:
        async with site.engine(), asyncio.timeout(LIMIT):
            while "forward/pause-1/i-1/since" not in journal():  # noqa: ASYNC110 (it shows in the database)
                await asyncio.sleep(0.01)

    def journal() -> dict[str, object]:
        with database.read() as db:
            return operations.journal_of(db, number)

    asyncio.run(interrupted())
    assert site.operation(number).phase == "forward"
    database.later = 299_900
    done = site.carry_out(number)
    assert done.outcome == "succeeded"
    assert journal()["forward/pause-1/i-1"] == {"seconds": 300.0}


def test_a_clock_that_is_put_back_makes_nobody_wait_for_longer_than_the_whole(tmp_path: Path) -> None:
    database = Late.at(tmp_path / "beanpole.db")
    assert isinstance(database, Late)
    site = EngineSite(database)
    number = site.submit(pause(0.2))

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            while not site.operation(number).attempts:  # noqa: ASYNC110 (it shows in the database)
                await asyncio.sleep(0.01)
            database.later = -3_600_000
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "succeeded"


def test_an_abort_ends_it(site: EngineSite) -> None:
    number = site.submit(pause(3600.0))

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            with site.database.write() as db:
                operations.ask_abort(db, "e-1")
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "aborted"
