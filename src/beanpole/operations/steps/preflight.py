"""Preflight: is there room for the release beside the running one? Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.operations.steps.arrive import manifest_of

if TYPE_CHECKING:
    from beanpole.operations.work import Work

TIMEOUT = 20.0
"""Seconds for an instance to say how it is."""

DISK_RESERVE = 200 * 2**20
"""Bytes that stay free for logs and the system whatever is deployed."""

MEMORY_RESERVE = 64 * 2**20
"""Bytes of memory that stay free beside the new processes."""


async def preflight(work: Work) -> dict[str, Any]:
    facts = await work.job("preflight", {}, TIMEOUT)
    problem = lacking(
        facts, manifest_of(work).size, together(work), stop_first=work.release.content.stop_first is not None
    )
    if problem is not None:
        raise work.failed(*problem)
    return {name: facts.get(name) for name in ("disk_free", "memory_available", "rss")}


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
