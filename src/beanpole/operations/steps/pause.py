"""Pause: time that somebody wants to pass between two batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.policies.plan import Pause
from beanpole.store.operations import journal_of, record

if TYPE_CHECKING:
    from beanpole.operations.work import Work

TOLD = 1.0
"""Seconds between two words on how long it takes."""


async def pause(work: Work) -> dict[str, Any]:
    """Whoever continues it after a crash waits for what is left, and never for longer than the whole."""
    seconds = work.step.seconds if isinstance(work.step, Pause) else 0.0
    since = await asyncio.to_thread(_begun, work)
    # Asked once: somebody may put the clock back.
    left = min(since / 1000 + seconds - work.now() / 1000, seconds)
    while left > 0:
        work.progress(f"{left:.0f} s left")
        await asyncio.sleep(min(left, TOLD))
        left -= TOLD
    return {"seconds": seconds}


def _begun(work: Work) -> int:
    """Milliseconds at which it began."""
    key = f"{work.phase}/{work.step.key}/{work.slot}/since"
    with work.writing() as db:
        known = journal_of(db, work.operation.id).get(key)
        if known is None:
            known = {"at": work.now()}
            record(db, work.operation, work.now(), key, known)
    return int(known["at"])
