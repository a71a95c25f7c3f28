"""Preflight: is there room for the release beside the running one? Changes nothing.

A server of its own that has no memory for both runs them one after the other: the other instances serve meanwhile. So
does this machine on the way back, which cannot be refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.operations.resident import usual
from beanpole.operations.steps.arrive import manifest_of
from beanpole.operations.steps.turn import REMEDY, may_pause
from beanpole.platforms.procfile import WEB
from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.operations.work import Work

TIMEOUT = 20.0
"""Seconds for an instance to say how it is."""

DISK_RESERVE = 200 * 2**20
"""Bytes that stay free for logs and the system whatever is deployed."""

MEMORY_RESERVE = 64 * 2**20
"""Bytes of memory that stay free beside the new processes."""


async def preflight(work: Work) -> dict[str, Any]:
    """`alone` in the result: why both releases cannot run at once there."""
    facts = await work.job("preflight", {}, TIMEOUT)
    if work.slot.startswith("new-"):
        facts = {**facts, "rss": await usual(work.parts, work.environment.id, WEB)}
    shared = work.parts.fleet.place(work.instance).shared_machine
    together = len(work.step.slots) if shared else 1  # how many instances share the memory that each of them reports
    full = short_of_disk(facts, manifest_of(work).size, together)
    if full is not None:
        raise work.failed(full, "Free some space, or lower beanpole:deployment KeepReleases.")
    found = {name: facts.get(name) for name in ("disk_free", "memory_available", "rss")}
    narrow = short_of_memory(facts, together) if work.release.content.stop_first is None else None
    if narrow is None:
        return found
    if shared and work.phase == "forward":
        raise work.failed(narrow, "Free some memory, or deploy in smaller batches.")
    _consent(work, narrow)
    work.say(f"[Instance: {work.instance}] Stop-first: {narrow}.", "WARN")
    return found | {"alone": narrow}


def short_of_disk(facts: dict[str, Any], bundle: int, together: int) -> str | None:
    """Why a bundle of so many bytes has no room on so many instances of one disk; None when it has."""
    needed = bundle * together + DISK_RESERVE
    if facts["disk_free"] >= needed:
        return None
    return f"the disk has {_mb(facts['disk_free'])} free and the release needs {_mb(needed)}"


def short_of_memory(facts: dict[str, Any], together: int) -> str | None:
    """Why so many instances cannot run both releases at once; None when they can."""
    needed = (facts.get("rss") or 0) * together + MEMORY_RESERVE
    if facts["memory_available"] >= needed:
        return None
    return (
        f"{_mb(facts['memory_available'])} of memory are available and starting the new release beside the running one "
        f"needs {_mb(needed)}"
    )


def _consent(work: Work, narrow: str) -> None:
    """Where nobody else serves meanwhile, requests will fail, to which somebody has to agree beforehand."""
    with work.parts.database.read() as db:
        fleet = len(instances.listed(db, work.environment.id))
    if not may_pause(fleet, work.settings):
        raise work.failed(narrow, REMEDY)


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
