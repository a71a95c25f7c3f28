"""Nothing is waited for longer than it may take, and whoever is told to stop stops."""

from __future__ import annotations

import asyncio

import pytest

from beanpole.agent.deadline import within

pytestmark = pytest.mark.pure


def test_what_is_cancelled_just_as_its_wait_ends_is_cancelled() -> None:
    async def run() -> None:
        awaited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        caller = asyncio.create_task(within(60, awaited))
        await asyncio.sleep(0)
        awaited.set_result(1)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()

    asyncio.run(run())


def test_what_takes_too_long_is_cancelled() -> None:
    async def run() -> None:
        never = asyncio.ensure_future(asyncio.Event().wait())
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, never)
        await asyncio.wait([never])
        assert never.cancelled()
        assert await within(60, asyncio.sleep(0, "done")) == "done"

    asyncio.run(run())
