"""Whose turn it is to be out of rotation: an instance that must stop its old release first waits for enough others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from beanpole.policies.change import floor
from beanpole.store import instances
from beanpole.store.operations import journal_of

if TYPE_CHECKING:
    from beanpole.operations.work import Work
    from beanpole.options.settings import Settings

LOOK = 0.2
"""Seconds between looks. Another one's start takes seconds, and its failure ends this wait."""


REMEDY = (
    "Free some memory, add a second instance, or agree that requests fail for a moment: `beanpole deploy "
    "--allow-downtime`, or the option beanpole:deployment AllowDowntime."
)


def others_needed(fleet: int) -> int:
    """How many other instances must serve while one is out of rotation."""
    return min(floor(fleet), fleet - 1)


def may_pause(fleet: int, settings: Settings) -> bool:
    """Whether one of so many instances may be out of rotation for a while: others serve, or somebody agreed to it."""
    return others_needed(fleet) > 0 or settings.boolean("beanpole:deployment", "AllowDowntime")


async def take_turn(work: Work, *, keep: str) -> None:
    """The instance is out of rotation but for the release `keep`; before that, enough others serve."""
    work.progress("waiting until enough others serve")
    while not await asyncio.to_thread(_taken, work, keep):  # noqa: ASYNC110 (what others do shows in the database)
        await asyncio.sleep(LOOK)


def _taken(work: Work, keep: str) -> bool:
    # Look and deed in one transaction: of two that wait, the second one sees that the first is out.
    with work.writing() as db:
        endpoints = instances.endpoints(db, work.environment.id)
        serving = {each.instance_id for each in endpoints if each.state == "serving"}
        # Those that were left behind, here or before, do not come back while this goes on: to wait for them is to wait
        # until the operation's deadline.
        journal = journal_of(db, work.operation.id)
        behind = {key.rpartition("/")[2] for key, result in journal.items() if "behind" in result}
        fleet = len(serving | {work.instance} | {slot for slot in work.step.slots if slot not in behind})
        if work.instance in serving:
            if not may_pause(fleet, work.settings):
                raise work.failed("the old release has to stop first, and no other instance serves meanwhile", REMEDY)
            if len(serving - {work.instance}) < others_needed(fleet):
                return False
        instances.drain(db, work.now(), work.instance, keep=keep)
    return True
