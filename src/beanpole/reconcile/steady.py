"""Keeps a loop of the background going: a fault of ours in one of them must not take the others down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

AGAIN = 1.0
"""Seconds until a loop that failed for a fault of ours is started again."""

log = structlog.get_logger("server")


async def steadily(name: str, loop: Callable[[], Coroutine[None, None, None]]) -> None:
    """Until cancelled."""
    while True:
        try:
            await loop()
        except OperationalError as problem:
            # Of the moment, and no fault of ours: it is started again until the database answers.
            log.warning("a loop waits for the database", loop=name, problem=str(problem.orig))
        except Exception as fault:
            log.exception("a loop failed for a fault of ours and is started again", loop=name, exc_info=fault)
        await asyncio.sleep(AGAIN)
