"""Health as it was found in the last cycle: what handlers answer from. Immutable, so that any thread may read it."""

from __future__ import annotations

from typing import Literal

import msgspec

from beanpole.health.report import CpuTimes
from beanpole.health.rules.facts import EnvironmentHealth, InstanceHealth
from beanpole.health.window import Metrics


class DeploymentView(msgspec.Struct, frozen=True):
    """The release of an instance. `at`: when it began while it is in progress, else when it ended (milliseconds)."""

    number: int
    version_label: str
    status: Literal["In Progress", "Deployed", "Failed"]
    at: int


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    health: InstanceHealth
    metrics: Metrics | None = None
    """None: the balancer does not tell."""
    cpu: CpuTimes | None = None
    load: tuple[float, ...] = ()
    deployment: DeploymentView | None = None
    resident: int = 0
    """Bytes that the processes of the release take that serves; 0: its agent does not tell."""


class EnvironmentView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    health: EnvironmentHealth
    instances: tuple[InstanceView, ...]
    refreshed_at: int
    """Milliseconds since 1970; grows with every cycle."""
    metrics: Metrics | None = None
