"""Retire: an instance that was replaced leaves without losing a request, and is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.operations.steps.leave import leave_rotation, terminate

if TYPE_CHECKING:
    from beanpole.operations.work import Work


async def retire(work: Work) -> dict[str, Any]:
    """Since the step began it does not count as one of the environment's (see phase.py)."""
    left = await leave_rotation(work)
    await terminate(work)
    return left
