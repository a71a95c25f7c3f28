"""Asks agents what became of the release that should serve on their instances. None is started for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.platforms.procfile import WEB
from beanpole.reconcile.verdict import Told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beanpole.fleet.fleet import Fleet

TOGETHER = 16
"""Agents that are asked at the same time: on one machine each answer costs some milliseconds of a core."""

PATIENCE = 2.0
"""Seconds for one agent to answer; they take milliseconds, over SSH some tenths of a second."""

LIMIT = 4.0
"""Seconds for all agents together: some that hang must not hold up the look at the others."""

log = structlog.get_logger("watch")


class _Process(msgspec.Struct, frozen=True):
    release: str
    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    started_at: float | None = None


class _State(msgspec.Struct, frozen=True):
    releases: tuple[str, ...]
    processes: tuple[_Process, ...]


async def hear(fleet: Fleet, wanted: Mapping[str, str]) -> dict[str, Told]:
    """`wanted`: by instance id the digest that should serve there. Who did not answer is missing."""
    together = asyncio.Semaphore(TOGETHER)

    async def ask(instance_id: str, digest: str) -> Told | None:
        async with together, asyncio.timeout(PATIENCE):
            client = await fleet.running(instance_id)
            return told(await client.state(), digest) if client is not None else None

    tasks = {name: asyncio.create_task(ask(name, digest), name=name) for name, digest in wanted.items()}
    if not tasks:
        return {}
    try:
        await asyncio.wait(tasks.values(), timeout=LIMIT)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return {name: said for name, task in tasks.items() if (said := _said(task)) is not None}


def told(state: Mapping[str, Any], digest: str) -> Told:
    """From an agent's whole state. msgspec.ValidationError when it has another shape."""
    seen = msgspec.convert(state, _State)
    web = next((each for each in seen.processes if each.release == digest and each.name == WEB), None)
    if web is None:
        return Told(here=False, started_at=None, restarts=0)
    here = digest in seen.releases and web.state != "stopped"
    return Told(here=here, started_at=web.started_at if web.pid is not None else None, restarts=web.restarts)


def _said(task: asyncio.Task[Told | None]) -> Told | None:
    if task.cancelled():
        return None
    problem = task.exception()
    if problem is None:
        return task.result()
    if not isinstance(problem, AgentError | AgentWillNotStart | TimeoutError | msgspec.ValidationError):
        raise problem
    log.info("an agent does not answer", instance=task.get_name(), problem=str(problem))
    return None
