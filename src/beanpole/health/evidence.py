"""From what database, agents and balancer say to the facts that the rules judge. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from beanpole.balancer.pool import Endpoint as PoolEndpoint
from beanpole.health.rules.facts import Activity, Completed, EnvironmentFacts, InstanceFacts, Service, Work
from beanpole.health.views import DeploymentView

if TYPE_CHECKING:
    from beanpole.health.census import Household, Release, Underway
    from beanpole.health.report import Pools, Report
    from beanpole.health.rules.facts import Member, Traffic
    from beanpole.health.track import Track
    from beanpole.health.window import Minute
    from beanpole.store.instances import Endpoint, Instance

_RUNNING = frozenset(("running", "starting"))
"""States of a process in which it runs; a starting one is watched by the deployment that starts it."""


def instance_facts(
    track: Track, household: Household, instance: Instance, traffic: Traffic | None, now: float
) -> InstanceFacts:
    """`track` has taken everything of this cycle. `traffic`: None when the instance had none, or nobody knows."""
    changing = any(each.operation.open for each in household.operations)
    expected = household.expected
    # While an operation goes through the instances, some have the new release and some the old one, as they should.
    wanted = expected.deployment if expected is not None and not changing else None
    serving = release_of(household, instance)
    report = track.report(now)
    if serving is not None and expected is not None and serving.digest == expected.digest:
        serving = expected
    return InstanceFacts(
        first_looked=track.first_looked,
        seen_at=track.seen_at,
        services=_services(track, report, serving, now) if report is not None else None,
        checked=track.checked,
        traffic=traffic,
        cpu=track.cpu(now) if report is not None else None,
        expected=wanted,
        serving=serving.deployment if serving is not None else None,
        failed_to_initialize=expected is None and not changing,
        work=_work(household, instance),
        completed=_completed_on(household, instance),
        judge_4xx=household.settings.judge_4xx,
    )


def environment_facts(household: Household, members: tuple[Member, ...], minute: Minute | None) -> EnvironmentFacts:
    """`minute`: None when the balancer does not tell."""
    expected = household.expected
    return EnvironmentFacts(
        members=members,
        desired=household.environment.desired,
        minimum=household.settings.minimum,
        expected=expected.deployment if expected is not None else None,
        application=minute.application if minute is not None else None,
        balancer=minute.balancer if minute is not None else None,
        activity=_activity(household),
        completed=next((_completed(each) for each in _finished(household) if each.operation.origin == "user"), None),
        judge_4xx=household.settings.judge_4xx,
        judge_balancer_4xx=household.settings.judge_balancer_4xx,
    )


def opinion(
    pools: Pools | None, household: Household, instance: Instance
) -> Literal["healthy", "unhealthy", "missing"] | None:
    """What the balancer says of the instance's serving endpoints together; None where there is no balancer, or where
    the server's proxy does not answer."""
    if household.environment.tier != "WebServer":
        return None
    pool = pools.pools.get(household.environment.id, {}) if pools is not None else {}
    seen = [pool.get(pool_key(each)) for each in household.endpoints[instance.id] if each.state == "serving"]
    known = [each.healthy for each in seen if each is not None]
    if not known:
        return "missing"
    if None in known:
        return None
    return "healthy" if all(known) else "unhealthy"


def pool_key(endpoint: Endpoint) -> str:
    """How the balancer's agent names it."""
    return PoolEndpoint(endpoint.address, endpoint.port).key


def release_of(household: Household, instance: Instance) -> Release | None:
    """The release that gets the instance's requests; without a balancer, the one that was last finished there."""
    releases = household.releases
    serving = [each.digest for each in household.endpoints[instance.id] if each.state == "serving"]
    for digest in serving:
        found = releases.with_digest(digest)
        if found is not None:
            return found
    return releases.numbered(instance.release) if household.environment.tier != "WebServer" else None


def deployment_view(household: Household, instance: Instance) -> DeploymentView | None:
    """What the instance shows as its deployment. None for one to which none has come yet."""
    for each in household.operations:
        place = each.places.get(instance.id)
        coming = household.releases.numbered(each.operation.release)
        if each.operation.open and place is not None and place.stage == "busy" and coming is not None:
            return DeploymentView(coming.number, coming.version_label, "In Progress", each.operation.created_at)
    release, expected = release_of(household, instance), household.expected
    if release is None:
        if expected is None:
            return None
        return DeploymentView(expected.number, expected.version_label, "Failed", expected.created_at)
    if expected is not None and release.digest == expected.digest:
        release = expected
    since = [each.since for each in household.endpoints[instance.id] if each.state == "serving"]
    return DeploymentView(release.number, release.version_label, "Deployed", max(since, default=release.created_at))


def _services(track: Track, report: Report, serving: Release | None, now: float) -> tuple[Service, ...]:
    """The processes of the release that serves; `web` always, also when the agent knows nothing of it."""
    if serving is None:
        return ()
    found = [
        Service(
            process.name,
            process.state in _RUNNING,
            track.restarts(now, process),
            process.last_exit.words if process.last_exit is not None else "",
        )
        for process in report.processes
        if process.release == serving.digest
    ]
    if all(service.name != "web" for service in found):
        found.append(Service("web", running=False))
    return tuple(found)


def _work(household: Household, instance: Instance) -> Work | None:
    """The open operation that is at work on the instance."""
    for each in household.operations:
        place = each.places.get(instance.id)
        if not each.operation.open or place is None or place.stage != "busy":
            continue
        if place.fresh or each.kind == "initialization":
            return Work("initialization", instance.launched_at / 1000, fresh=True)
        return Work(each.kind, each.operation.created_at / 1000)
    return None


def _activity(household: Household) -> Activity | None:
    """The user's open operation. What the system does by itself shows on the instances only."""
    for each in household.operations:
        operation = each.operation
        if operation.open and operation.origin == "user":
            stages = [place.stage for place in each.places.values()]
            return Activity(
                each.kind,
                operation.created_at / 1000,
                operation.deadline_at / 1000,
                busy=stages.count("busy"),
                done=stages.count("done"),
                total=len(stages),
            )
    return None


def _finished(household: Household) -> list[Underway]:
    """The newest first."""
    return [each for each in reversed(household.operations) if not each.operation.open]


def _completed_on(household: Household, instance: Instance) -> Completed | None:
    return next((_completed(each) for each in _finished(household) if instance.id in each.places), None)


def _completed(underway: Underway) -> Completed:
    operation = underway.operation
    finished = operation.finished_at if operation.finished_at is not None else operation.created_at
    return Completed(underway.kind, operation.created_at / 1000, finished / 1000)
