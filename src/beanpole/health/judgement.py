"""Puts together what the database, the agents and the balancer say, and has the rules judge it.

Remembers between cycles what a single look cannot show: since when, how often, and the requests of the last minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.health.evidence import (
    deployment_view,
    environment_facts,
    instance_facts,
    opinion,
    pool_key,
    release_of,
)
from beanpole.health.rules.environment import environment_health
from beanpole.health.rules.facts import Member, Traffic
from beanpole.health.rules.instance import instance_health
from beanpole.health.track import Track
from beanpole.health.views import EnvironmentView, InstanceView
from beanpole.health.window import BALANCER, UNKNOWN, Metrics, Minute, Window

if TYPE_CHECKING:
    from beanpole.health.census import Household
    from beanpole.health.report import Answers, Pools, Requests
    from beanpole.health.rules.facts import InstanceHealth
    from beanpole.store.instances import Instance

STALE = 30.0
"""Seconds after which the balancer's last answer says nothing about the present; its agent restarts within them."""

REMEMBERED = 300.0
"""Seconds for which an endpoint that is gone is known as its instance's: its last requests are told a moment later."""


class Shown(msgspec.Struct, frozen=True):
    """One environment's requests, judged and shown. `of`: of each instance that had some."""

    minute: Minute
    of: dict[str, Metrics]
    all: Metrics


class Judgement:
    """Not for use from several threads at once."""

    def __init__(self) -> None:
        self.counted: int | None = None
        """The last second up to which the requests are known."""
        self._tracks: dict[str, Track] = {}
        self._windows: dict[str, Window] = {}
        self._endpoints: dict[tuple[str, str], tuple[str, float]] = {}
        self._pools: Pools | None = None
        self._pools_at = 0.0

    def judge(self, households: list[Household], answers: Answers, now: float) -> dict[str, EnvironmentView]:
        """The health of every environment, by id."""
        self._forget(households, now)
        self._know_endpoints(households, now)
        if answers.requests is not None:
            self._count(households, answers.requests)
        if answers.pools is not None:
            self._pools, self._pools_at = answers.pools, now
        elif now - self._pools_at > STALE:
            self._pools = None
        return {each.environment.id: self._environment(each, answers, now) for each in households}

    def _environment(self, household: Household, answers: Answers, now: float) -> EnvironmentView:
        requests = self._requests(household.environment.id, now)
        views, members = [], []
        for instance in household.instances:
            track = self._tracks.setdefault(instance.id, Track(now))
            track.take(now, answers.reports.get(instance.id))
            view = opinion(self._pools, household, instance)
            if view is not None:
                track.look(now, view)
            traffic = requests.minute.instances.get(instance.id) if requests is not None else None
            health = instance_health(instance_facts(track, household, instance, traffic, now), now)
            members.append(Member(health, track.judged(now, health.status)))
            views.append(_view(track, household, instance, health, requests, now))
        minute = requests.minute if requests is not None else None
        return EnvironmentView(
            id=household.environment.id,
            health=environment_health(environment_facts(household, tuple(members), minute), now),
            instances=tuple(views),
            refreshed_at=int(now * 1000),
            metrics=requests.all if requests is not None else None,
        )

    def _requests(self, environment_id: str, now: float) -> Shown | None:
        """None when the balancer has not told of them lately."""
        if self.counted is None or now - self.counted > STALE:
            return None
        window = self._windows.get(environment_id)
        if window is None:
            return Shown(Minute({}, Traffic(), Traffic()), {}, Metrics())
        return Shown(window.minute(self.counted), *window.shown(self.counted))

    def _count(self, households: list[Household], requests: Requests) -> None:
        if self.counted is not None and requests.now < self.counted:
            self._windows.clear()  # the clock was put back: seconds that were counted may be told again
        live = {each.environment.id for each in households}
        for second, pools in requests.seconds.items():
            for environment_id in pools.keys() & live:
                window = self._windows.setdefault(environment_id, Window())
                for endpoint, tally in pools[environment_id].items():
                    window.add(int(second), self._instance_at(environment_id, endpoint), tally)
        self.counted = requests.now
        for window in self._windows.values():
            window.forget(requests.now)

    def _instance_at(self, environment_id: str, endpoint: str) -> str:
        if endpoint == "-":
            return BALANCER
        known = self._endpoints.get((environment_id, endpoint))
        return known[0] if known is not None else UNKNOWN

    def _know_endpoints(self, households: list[Household], now: float) -> None:
        for household in households:
            for instance_id, endpoints in household.endpoints.items():
                for each in endpoints:
                    self._endpoints[household.environment.id, pool_key(each)] = (instance_id, now)

    def _forget(self, households: list[Household], now: float) -> None:
        """What belonged to environments and instances that are gone."""
        environments = {each.environment.id for each in households}
        instances = {instance.id for each in households for instance in each.instances}
        self._windows = {id_: window for id_, window in self._windows.items() if id_ in environments}
        self._tracks = {id_: track for id_, track in self._tracks.items() if id_ in instances}
        self._endpoints = {key: seen for key, seen in self._endpoints.items() if seen[1] > now - REMEMBERED}


def _view(
    track: Track, household: Household, instance: Instance, health: InstanceHealth, requests: Shown | None, now: float
) -> InstanceView:
    report = track.report(now)
    machine = report.instance if report is not None else None
    serving = release_of(household, instance)
    digest = serving.digest if serving is not None else None
    held = [each.rss or 0 for each in report.processes if each.release == digest] if report is not None else []
    return InstanceView(
        id=instance.id,
        health=health,
        metrics=requests.of.get(instance.id, Metrics()) if requests is not None else None,
        cpu=machine.cpu if machine is not None else None,
        load=machine.load if machine is not None else (),
        deployment=deployment_view(household, instance),
        resident=sum(held),
    )
