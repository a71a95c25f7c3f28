"""Every ten seconds: look at everything, judge it, tell what changed.

A cycle that fails is logged and followed by the next; an agent that does not answer is a fact like any other.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from beanpole.health.agents import Agents
from beanpole.health.census import Census, Household
from beanpole.health.judgement import Judgement
from beanpole.health.records import Heard, Records
from beanpole.health.window import JUDGED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from beanpole.fleet.balancers import Balancers
    from beanpole.fleet.fleet import Fleet
    from beanpole.health.report import AgentEvent, Answers
    from beanpole.health.views import EnvironmentView, InstanceView
    from beanpole.store.database import Database

PERIOD = 10.0
"""Seconds from the begin of one cycle to the next; what clients of health poll by."""

GAP = 1.0
"""Seconds between cycles at least, however often somebody wakes the collector."""

log = structlog.get_logger("health")


class Collector:
    """Keeps the health of everything in memory. `clock`: seconds since 1970. Runs in one process at a time."""

    def __init__(
        self,
        database: Database,
        fleet: Fleet,
        balancers: Balancers,
        *,
        clock: Callable[[], float] = time.time,
        period: float = PERIOD,
    ) -> None:
        self._database = database
        self._agents = Agents(fleet, balancers)
        self._clock = clock
        self._period = period
        self._census = Census()
        self._judgement = Judgement()
        self._records = Records(database)
        self._views: Mapping[str, EnvironmentView] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            began = self._loop.time()
            self._woken.clear()
            (problem,) = await asyncio.gather(self.cycle(), return_exceptions=True)
            if problem is not None:
                log.error("a look at the health of everything failed", exc_info=problem)
            await asyncio.sleep(min(GAP, self._period))
            try:
                async with asyncio.timeout_at(began + self._period):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Look again soon, since something has changed. May be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    def environment(self, environment_id: str) -> EnvironmentView | None:
        """As of the last cycle; None before the first one that saw it. May be called from any thread."""
        return self._views.get(environment_id)

    def instances(self, environment_id: str) -> tuple[InstanceView, ...]:
        """As `environment`; none before the first cycle that saw it."""
        view = self.environment(environment_id)
        return view.instances if view is not None else ()

    def resident(self, environment_id: str) -> int:
        """Bytes that the application takes on the instance where it takes most; 0 before an agent has told."""
        return max((each.resident for each in self.instances(environment_id)), default=0)

    async def cycle(self) -> None:
        """One look at everything."""
        households, seen = await asyncio.to_thread(self._look)
        instances = [instance.id for household in households for instance in household.instances]
        counted = self._judgement.counted
        after = counted if counted is not None else int(self._clock()) - JUDGED
        answers, told = await self._agents.ask(instances, seen, after)
        await asyncio.to_thread(self._conclude, households, answers, told)

    def _look(self) -> tuple[list[Household], dict[str, int]]:
        with self._database.read() as db:
            return self._census.take(db, self._clock()), self._records.seen(db)

    def _conclude(
        self, households: list[Household], answers: Answers, told: Mapping[str, tuple[AgentEvent, ...]]
    ) -> None:
        now = self._clock()
        views = self._judgement.judge(households, answers, now)
        # First, since readers in memory need not wait for a busy database.
        self._views = views
        self._records.tell(
            Heard(instance.id, household.environment, told[instance.id])
            for household in households
            for instance in household.instances
        )
        self._records.forget_agents({instance.id for household in households for instance in household.instances})
        self._records.put([household.environment for household in households], views, now)
