"""What is known of the last minute, as values: of one instance, and of an environment. Times are seconds since 1970."""

from __future__ import annotations

from typing import Literal

import msgspec

from beanpole.health.rules.status import Status

WorkKind = Literal["initialization", "deployment", "configuration", "restart", "termination"]

ProblemKind = Literal["silence", "unhealthy", "unchecked", "version", "initialization", "process", "cpu", "requests"]


class Deployment(msgspec.Struct, frozen=True):
    """A release as health speaks of it: the deployment id is its number."""

    number: int
    version_label: str


class Service(msgspec.Struct, frozen=True):
    """A process that should run. `restarts`: of the last minute. `last_exit`: `exit status 3`, or ''."""

    name: str
    running: bool
    restarts: int = 0
    last_exit: str = ""


class Checked(msgspec.Struct, frozen=True):
    """What the balancer says of an instance. `missing`: nothing."""

    view: Literal["healthy", "unhealthy", "missing"]
    since: float


class Traffic(msgspec.Struct, frozen=True):
    """Requests of the last minute. `cut`: the answer had begun and broke off."""

    requests: int = 0
    status_4xx: int = 0
    status_5xx: int = 0
    cut: int = 0


class Cpu(msgspec.Struct, frozen=True):
    """Means of five minutes, percent. `busy` includes `iowait`."""

    busy: float
    iowait: float = 0.0


class Work(msgspec.Struct, frozen=True):
    """An operation that is at work on an instance. `fresh`: the instance was not in service when it began."""

    kind: WorkKind
    since: float
    fresh: bool = False


class Completed(msgspec.Struct, frozen=True):
    """An operation that succeeded a short while ago."""

    kind: WorkKind
    started_at: float
    finished_at: float


class InstanceFacts(msgspec.Struct, frozen=True, kw_only=True):
    first_looked: float
    """When somebody asked this instance for the first time."""
    seen_at: float | None
    """When its agent last answered."""
    services: tuple[Service, ...] | None = None
    """None: there is no report that is recent enough."""
    checked: Checked | None = None
    """None: no balancer stands before it, or nobody asked it yet."""
    traffic: Traffic | None = None
    cpu: Cpu | None = None
    expected: Deployment | None = None
    """None: any version will do, as while an operation goes through the instances."""
    serving: Deployment | None = None
    failed_to_initialize: bool = False
    work: Work | None = None
    completed: Completed | None = None
    judge_4xx: bool = True


class Problem(msgspec.Struct, frozen=True):
    """`status` Ok: worth a sentence, no more."""

    kind: ProblemKind
    status: Status
    cause: str


class InstanceHealth(msgspec.Struct, frozen=True):
    """`problems` are what counts for the environment; `causes`, worst first, are what a person reads."""

    status: Status
    causes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """An instance in its environment. `failed`: its failed checks of the last minute, the present one among them."""

    health: InstanceHealth
    failed: int = 0


class Activity(msgspec.Struct, frozen=True):
    """A user's operation that is under way. `busy` instances it is at work on, `done` of `total` it is through with."""

    kind: WorkKind
    since: float
    deadline: float
    busy: int = 0
    done: int = 0
    total: int = 0


class EnvironmentFacts(msgspec.Struct, frozen=True, kw_only=True):
    members: tuple[Member, ...]
    desired: int
    minimum: int
    """Instances that the settings ask for at least."""
    expected: Deployment | None = None
    application: Traffic | None = None
    """Requests that an instance was asked for. None: the balancer does not tell."""
    balancer: Traffic | None = None
    """All requests, those for which no instance was there among them."""
    activity: Activity | None = None
    completed: Completed | None = None
    judge_4xx: bool = True
    judge_balancer_4xx: bool = True


class EnvironmentHealth(msgspec.Struct, frozen=True):
    status: Status
    causes: tuple[str, ...] = ()
