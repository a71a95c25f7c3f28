"""DescribeEnvironmentHealth and DescribeInstancesHealth: what the collector saw last, as the API's structures.

They always answer for an environment that exists: of what no cycle has seen yet they say Pending or Unknown. The EB CLI
hangs on an instance without a status or a launch time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.aws.errors import AwsError
from beanpole.control.context import Control, the_environment
from beanpole.health.colors import color
from beanpole.health.rules.facts import EnvironmentHealth, InstanceHealth
from beanpole.health.rules.status import STATUSES
from beanpole.health.rules.words import duration
from beanpole.health.views import EnvironmentView, InstanceView
from beanpole.health.window import SHOWN
from beanpole.services.elasticbeanstalk import paging, shapes
from beanpole.store import environments, instances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from beanpole.aws.call import Call
    from beanpole.health.collector import Collector
    from beanpole.health.window import Metrics
    from beanpole.store.environments import Environment
    from beanpole.store.instances import Instance

PAGE = 100
"""Instances in one answer; clients ask for the next page by themselves."""

CAUSE_LENGTH = 255
"""Characters that the API's model allows in a cause."""

INSTANCE_TYPE = "local"
"""What clients show as the type of an instance that is part of this machine."""

_SYSTEM_TYPE = ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "")


class Health:
    """The handlers. `collector` is read only."""

    def __init__(self, control: Control, collector: Collector) -> None:
        self._control = control
        self._collector = collector

    def describe_environment(self, call: Call) -> dict[str, Any]:
        environment, members = self._found(call)
        view = self._collector.environment(environment.id) or self._unseen(environment)
        views = self._views(environment, members, view)
        parts: dict[str, Callable[[], Any]] = {
            "HealthStatus": lambda: view.health.status,
            "Status": lambda: environment.status,
            "Color": lambda: color(view.health.status),
            "Causes": lambda: _causes(view.health.causes),
            "ApplicationMetrics": lambda: _metrics(view.metrics),
            "InstancesHealth": lambda: _counts(views),
            "RefreshedAt": lambda: shapes.moment(view.refreshed_at),
        }
        return {"EnvironmentName": environment.name} | _chosen(parts, call)

    def describe_instances(self, call: Call) -> dict[str, Any]:
        environment, members = self._found(call)
        view = self._collector.environment(environment.id) or self._unseen(environment)
        page, token = paging.page(members, call.params.get("NextToken"), PAGE)
        views = self._views(environment, page, view)
        found = [self._instance(member, each, call) for member, each in zip(page, views, strict=True)]
        answer: dict[str, Any] = {"InstanceHealthList": found, "NextToken": token}
        return answer | _chosen({"RefreshedAt": lambda: shapes.moment(view.refreshed_at)}, call)

    def _instance(self, instance: Instance, view: InstanceView, call: Call) -> dict[str, Any]:
        parts: dict[str, Callable[[], Any]] = {
            "HealthStatus": lambda: view.health.status,
            "Color": lambda: color(view.health.status),
            "Causes": lambda: _causes(view.health.causes),
            "LaunchedAt": lambda: shapes.moment(instance.launched_at),
            "ApplicationMetrics": lambda: _metrics(view.metrics),
            "System": lambda: _system(view),
            "Deployment": lambda: _deployment(view),
            "AvailabilityZone": lambda: f"{self._control.identity.region}a",
            "InstanceType": lambda: INSTANCE_TYPE,
        }
        return {"InstanceId": instance.id} | _chosen(parts, call)

    def _found(self, call: Call) -> tuple[Environment, list[Instance]]:
        """The environment and its instances. Raises what says that there is none, or that its health is basic."""
        params = call.params
        with self._control.database.read() as db:
            environment = the_environment(db, name=params.get("EnvironmentName"), id_=params.get("EnvironmentId"))
            system = environments.options(db, environment.id).get(_SYSTEM_TYPE, "enhanced")
            members = instances.listed(db, environment.id)
        if system == "basic":
            # The EB CLI compares this sentence, and turns to basic health.
            raise AwsError("InvalidRequestException", f"{call.operation} is not supported.")
        return environment, [member for member in members if member.state != "terminating"]

    def _unseen(self, environment: Environment) -> EnvironmentView:
        """Before the first cycle that sees it."""
        health = EnvironmentHealth("Pending" if environment.status == "Launching" else "Unknown")
        now = self._control.database.now_ms()
        return EnvironmentView(id=environment.id, health=health, instances=(), refreshed_at=now)

    def _views(self, environment: Environment, members: list[Instance], view: EnvironmentView) -> list[InstanceView]:
        """One for each of `members`, also of those that are younger than the last cycle."""
        seen = {each.id: each for each in view.instances}
        return [seen.get(member.id) or self._unseen_instance(environment, member) for member in members]

    def _unseen_instance(self, environment: Environment, instance: Instance) -> InstanceView:
        if environment.status != "Launching" and instance.state != "launching":
            return InstanceView(id=instance.id, health=InstanceHealth("Unknown"))
        age = (self._control.database.now_ms() - instance.launched_at) / 1000
        cause = f"Performing initialization (running for {duration(age)})."
        return InstanceView(id=instance.id, health=InstanceHealth("Pending", (cause,)))


def _chosen(parts: dict[str, Callable[[], Any]], call: Call) -> dict[str, Any]:
    """The attributes that were asked for; none unless some are named."""
    wanted = set(call.params.get("AttributeNames", ()))
    return {name: make() for name, make in parts.items() if name in wanted or "All" in wanted}


def _causes(causes: Iterable[str]) -> list[str]:
    return [cause if len(cause) <= CAUSE_LENGTH else f"{cause[: CAUSE_LENGTH - 1]}…" for cause in causes]


def _counts(views: list[InstanceView]) -> dict[str, int]:
    return {status: sum(view.health.status == status for view in views) for status in STATUSES}


def _metrics(metrics: Metrics | None) -> dict[str, Any] | None:
    """Counts, not shares; without requests no latencies. Nothing at all where the balancer does not tell."""
    if metrics is None:
        return None
    return {
        "Duration": SHOWN,
        "RequestCount": metrics.requests,
        "StatusCodes": {
            "Status2xx": metrics.s2xx,
            "Status3xx": metrics.s3xx,
            "Status4xx": metrics.s4xx,
            "Status5xx": metrics.s5xx,
        },
        "Latency": dict(metrics.latency) or None,
    }


def _system(view: InstanceView) -> dict[str, Any] | None:
    cpu = view.cpu
    # Members that are there but empty end the EB CLI's poller.
    if cpu is None or len(view.load) < 2:
        return None
    used = {"User": cpu.user, "Nice": cpu.nice, "System": cpu.system, "Idle": cpu.idle, "IOWait": cpu.iowait}
    return {"CPUUtilization": used, "LoadAverage": list(view.load)}


def _deployment(view: InstanceView) -> dict[str, Any] | None:
    deployment = view.deployment
    if deployment is None:
        return None
    return {
        "VersionLabel": deployment.version_label,
        "DeploymentId": deployment.number,
        "Status": deployment.status,
        "DeploymentTime": shapes.moment(deployment.at),
    }
