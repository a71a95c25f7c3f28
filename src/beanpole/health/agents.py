"""Asks agents how things are, without starting any: that is the reconciler's work.

Whoever does not answer, in time and in the agreed shape, has said nothing. No answer is an error here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog

from beanpole.fleet.agent_client import AgentError
from beanpole.health.report import AgentEvent, Answers, Events, Pools, Report, Requests

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from beanpole.fleet.balancers import Balancers
    from beanpole.fleet.fleet import Fleet

T = TypeVar("T")

TOGETHER = 64
"""Instances that are asked at the same time."""

PATIENCE = 5.0
"""Seconds for one agent to answer. They take milliseconds, over SSH some tenths of a second."""

LIMIT = 8.0
"""Seconds for all agents together: some that hang must not hold up what is known of the others."""

log = structlog.get_logger("health")


class Told(msgspec.Struct, frozen=True):
    """What one instance's agent said."""

    report: Report | None = None
    events: tuple[AgentEvent, ...] = ()


class Agents:
    """The agents of a fleet and of the balancers."""

    def __init__(self, fleet: Fleet, balancers: Balancers) -> None:
        self._fleet = fleet
        self._balancers = balancers

    async def ask(
        self, instances: Iterable[str], seen: Mapping[str, int], after: int
    ) -> tuple[Answers, dict[str, tuple[AgentEvent, ...]]]:
        """Everything that is known now, and the new events of each instance.

        `seen`: the number of the last event that was told, by instance id. `after`: the last second whose requests are
        counted.
        """
        together = asyncio.Semaphore(TOGETHER)
        pools = asyncio.create_task(self._pools(), name="balancer")
        requests = asyncio.create_task(self._requests(after), name="balancer")
        asked = {
            each: asyncio.create_task(_in_turn(together, self._instance(each, seen.get(each, 0))), name=each)
            for each in instances
        }
        tasks: set[asyncio.Task[object]] = {pools, requests, *asked.values()}
        try:
            await asyncio.wait(tasks, timeout=LIMIT)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        told = {each: _result(task) or Told() for each, task in asked.items()}
        reports = {each: answer.report for each, answer in told.items() if answer.report is not None}
        return Answers(reports, _result(pools), _result(requests)), {each: told[each].events for each in told}

    async def _instance(self, instance_id: str, seen: int) -> Told:
        async with asyncio.timeout(PATIENCE):
            client = await self._fleet.running(instance_id)
            if client is None:
                return Told()
            report = msgspec.convert(await client.state(), Report)
            try:
                events = msgspec.convert({"events": await client.events(seen)}, Events).events
            except (AgentError, msgspec.ValidationError) as problem:
                log.info("an agent told no events", instance=instance_id, problem=str(problem))
                events = ()
        return Told(report, events)

    async def _pools(self) -> Pools | None:
        async with asyncio.timeout(PATIENCE):
            return msgspec.convert({"pools": await self._balancers.view()}, Pools)

    async def _requests(self, after: int) -> Requests | None:
        async with asyncio.timeout(PATIENCE):
            return msgspec.convert(await self._balancers.requests(after), Requests)


async def _in_turn(together: asyncio.Semaphore, work: Coroutine[None, None, T]) -> T:
    async with together:
        return await work


def _result(task: asyncio.Task[T]) -> T | None:
    """What the task gave; None when it was not ready or said nothing useful."""
    if task.cancelled():
        return None
    problem = task.exception()
    if problem is None:
        return task.result()
    if isinstance(problem, AgentError | TimeoutError | msgspec.ValidationError):
        log.info("an agent does not answer", of=task.get_name(), problem=str(problem))
    else:
        log.error("an agent could not be asked", of=task.get_name(), exc_info=problem)
    return None
