"""What the application in force takes of an instance's memory: as much as a new instance will."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from beanpole.fleet.agent_client import AgentError
from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.operations.work import Parts

TIMEOUT = 20.0
"""Seconds for an instance to say it."""

ASKED = 2
"""Instances that are asked, when the first does not answer."""


async def usual(parts: Parts, environment_id: str, process: str | None = None) -> int:
    """Bytes that the release takes on an instance that serves it; 0 where none does, or nobody tells.

    `process`: of the one of that name; None: of all that it has there.
    """
    with parts.database.read() as db:
        serving = [each for each in instances.endpoints(db, environment_id) if each.state == "serving"]
    for each in serving[:ASKED]:
        with contextlib.suppress(AgentError, TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                running = (await parts.fleet.state(each.instance_id))["processes"]
            mine = (known for known in running if known["release"] == each.digest and known.get("pid"))
            return sum(known["rss"] or 0 for known in mine if process in (None, known["name"]))
    return 0
