"""Preflight: is there room for the release beside the running one? Changes nothing.

One instance that is not ready is reason enough to look at all of them: who has to make room wants to know where.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beanpole.operations.blame import Blame, StepFailed
from beanpole.operations.steps.arrive import manifest_of
from beanpole.store.operations import journal_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beanpole.operations.work import Work

TIMEOUT = 20.0
"""Seconds for an instance to say how it is."""

DISK_RESERVE = 200 * 2**20
"""Bytes that stay free for logs and the system whatever is deployed."""

MEMORY_RESERVE = 64 * 2**20
"""Bytes of memory that stay free beside the new processes."""


async def preflight(work: Work) -> dict[str, Any]:
    try:
        return await _look(work)
    except StepFailed as failed:
        if len(work.step.slots) == 1:
            raise
        looks = (_look(failing) for failing in _all(work))
        found = await asyncio.gather(*looks, return_exceptions=True)
        blames = [each.blame for each in found if isinstance(each, StepFailed)] or [failed.blame]
        raise StepFailed(together_blamed(blames, len(work.step.slots))) from failed


async def _look(work: Work) -> dict[str, Any]:
    """How the instance is. StepFailed when the release has no room there, or when it does not say."""
    facts = await work.job("preflight", {}, TIMEOUT)
    problem = lacking(
        facts, manifest_of(work).size, together(work), stop_first=work.release.content.stop_first is not None
    )
    if problem is not None:
        raise work.failed(*problem)
    return {name: facts.get(name) for name in ("disk_free", "memory_available", "rss")}


def _all(work: Work) -> list[Work]:
    """The work on every slot of the step, in its order."""
    with work.parts.database.read() as db:
        journal = journal_of(db, work.operation.id)
    bound = {key.split("/")[-2]: result["instance"] for key, result in journal.items() if key.endswith("/bind")}
    return [replace(work, slot=slot, instance=bound.get(slot, slot)) for slot in work.step.slots]


def together_blamed(blames: Iterable[Blame], of: int) -> Blame:
    """One blame for several instances, each with its own cause; those with the same cause share it."""
    blames = list(blames)
    if len(blames) == 1:
        return blames[0]
    causes = "; ".join(by_cause((blame.instance, blame.cause) for blame in blames))
    remedies = " ".join(dict.fromkeys(blame.remedy for blame in blames if blame.remedy))
    return Blame(stage=blames[0].stage, cause=f"on {len(blames)} of {of} instances. {causes}", remedy=remedies)


def by_cause(found: Iterable[tuple[str, str]]) -> list[str]:
    """`i-1, i-2: the disk is full`, from pairs of instance and cause."""
    names: dict[str, list[str]] = {}
    for instance, cause in found:
        names.setdefault(cause.rstrip("."), []).append(instance)
    return [f"{', '.join(several)}: {cause}" for cause, several in names.items()]


def together(work: Work) -> int:
    """How many instances share the memory that each of them reports."""
    return len(work.step.slots) if work.parts.fleet.place(work.instance).shared_machine else 1


def lacking(facts: dict[str, Any], bundle: int, instances: int, *, stop_first: bool) -> tuple[str, str] | None:
    """Cause and remedy when the release has no room; None when it has. Sizes in bytes."""
    disk = bundle * instances + DISK_RESERVE
    if facts["disk_free"] < disk:
        return (
            f"the disk has {_mb(facts['disk_free'])} free and the release needs {_mb(disk)}",
            "Free some space, or lower beanpole:deployment KeepReleases.",
        )
    memory = 0 if stop_first else (facts.get("rss") or 0) * instances + MEMORY_RESERVE
    if facts["memory_available"] < memory:
        return (
            f"{_mb(facts['memory_available'])} of memory are available and starting the new release beside the "
            f"running one needs {_mb(memory)}",
            "Free some memory, or deploy in smaller batches.",
        )
    return None


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
