"""Whose turn it is to be out of rotation: an instance that must stop its old release first waits for enough others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from beanpole.policies.change import floor
from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.operations.work import Work

LOOK = 0.2
"""Seconds between looks. Another one's start takes seconds, and its failure ends this wait."""


def others_needed(fleet: int) -> int:
    """How many other instances must serve while one is out of rotation."""
    return min(floor(fleet), fleet - 1)


async def take_turn(work: Work, *, keep: str) -> None:
    """The instance is out of rotation but for the release `keep`; before that, enough others serve."""
    work.progress("waiting until enough others serve")
    while not await asyncio.to_thread(_taken, work, keep):  # noqa: ASYNC110 (what others do shows in the database)
        await asyncio.sleep(LOOK)


def _taken(work: Work, keep: str) -> bool:
    # Look and deed in one transaction: of two that wait, the second one sees that the first is out.
    with work.writing() as db:
        fleet = len(instances.listed(db, work.environment.id))
        endpoints = instances.endpoints(db, work.environment.id)
        serving = {each.instance_id for each in endpoints if each.state == "serving"}
        if work.instance in serving and len(serving - {work.instance}) < others_needed(fleet):
            return False
        instances.drain(db, work.now(), work.instance, keep=keep)
    return True
