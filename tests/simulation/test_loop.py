"""Virtual time: order, processes that stand still or are killed, and that one seed gives one history."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

from beanpole.simulation.loop import Deadlock, Process, VirtualLoop


def test_time_passes_only_where_somebody_waits() -> None:
    loop, began = VirtualLoop(), time.monotonic()

    async def sleeper() -> float:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        return loop.time()

    assert loop.run(sleeper()) == 7200
    assert time.monotonic() - began < 60


def test_threads_are_waited_for_and_their_exceptions_arrive() -> None:
    loop = VirtualLoop()

    def fails() -> None:
        raise ValueError("here")

    async def asks() -> None:
        assert await asyncio.to_thread(len, "four") == 4
        with pytest.raises(ValueError, match="here"):
            await asyncio.to_thread(fails)

    loop.run(asks())


def test_a_process_that_stood_still_does_later_what_was_due() -> None:
    loop, process, done = VirtualLoop(), Process("a"), []

    async def ticks() -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            done.append(loop.time())

    loop.spawn(process, ticks())
    loop.call_at(1.5, loop.freeze, process)
    loop.call_at(10.0, loop.thaw, process)
    loop.run_until(lambda: len(done) == 4)
    assert done == [1.0, 10.0, 11.0, 12.0]


def test_a_process_that_is_killed_does_nothing_more() -> None:
    loop, process, done = VirtualLoop(), Process("a"), []

    async def ticks() -> None:
        while True:
            await asyncio.sleep(1)
            done.append(loop.time())

    loop.spawn(process, ticks())
    loop.call_at(2.5, loop.kill, process)
    loop.run_until(lambda: False, 100.0)
    assert done == [1.0, 2.0]
    assert process.tasks == set()


def test_what_never_comes_is_told() -> None:
    with pytest.raises(Deadlock):
        VirtualLoop().run(asyncio.Event().wait())


@pytest.mark.long
def test_one_seed_gives_one_history_whatever_the_hashes_of_strings_are() -> None:
    program = "from beanpole.simulation.run import run\nfrom beanpole.simulation.scenario import drawn\n"
    program += "for seed in (3, 7, 11): print(run(drawn(seed)).text())"

    def told(hashes: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
        )
        return done.stdout

    assert told("1") == told("2")
