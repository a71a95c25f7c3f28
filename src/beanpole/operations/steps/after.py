"""After: an environment of a composed group waits for those that it is linked to.

What another environment of the request is doing is read from its operation: an operation that is over has ended well,
or this one ends, too. The operation's deadline bounds the wait, and a restart goes on with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.policies.plan import ANSWER
from beanpole.store import environments, operations

if TYPE_CHECKING:
    from beanpole.operations.work import Work
    from beanpole.store.operations import Operation

POLL = 0.5
"""Seconds between two looks."""

MOMENT = 2.0
"""Seconds from the call until an operation may end: the EB CLI looks for events that are younger than its own look at
the answer, and would wait a quarter of an hour for an end that came before."""


async def after(work: Work) -> dict[str, Any]:
    if work.slot == ANSWER:
        left = MOMENT - (work.now() - work.operation.created_at) / 1000
        await asyncio.sleep(max(left, 0.0))
        return {}
    work.progress("waiting for it")
    while (theirs := await asyncio.to_thread(_of, work)) is None or theirs.phase != "done":
        if theirs is None:
            raise work.failed(f"the environment {work.slot} is not there any more", "Compose the group again.")
        await asyncio.sleep(POLL)
    if theirs.outcome != "succeeded":
        cause = f"the environment {work.slot}, to which this one is linked, was not brought to its version"
        raise work.failed(cause, "Its events tell why. Compose the group again when that is put right.")
    return {}


def _of(work: Work) -> Operation | None:
    """The operation by which the same request brings the other environment to its version."""
    with work.parts.database.read() as db:
        for operation in operations.listed(db, request_id=work.operation.request_id, limit=1000):
            environment = environments.find(db, operation.environment_id)
            if environment is not None and environment.name == work.slot:
                return operation
    return None
