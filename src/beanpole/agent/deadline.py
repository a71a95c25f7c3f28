"""Waiting for something no longer than so many seconds.

asyncio.wait_for does that, too, but until Python 3.12 it forgets that its caller was cancelled when that and the end of
the wait come together: what was told to stop goes on for ever, and so does whoever waits for it.
"""

from __future__ import annotations

import asyncio
from typing import Awaitable, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: "Awaitable[T]") -> T:
    """What the work gives. It is cancelled when the time is over (asyncio.TimeoutError) or its caller is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()
