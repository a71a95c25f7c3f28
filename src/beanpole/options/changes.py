"""What an update of settings means: which options differ, how much that interrupts, and which part of us has to act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.options.settings import ENVIRONMENT

if TYPE_CHECKING:
    from beanpole.options.option import Severity
    from beanpole.options.registry import Registry
    from beanpole.options.setting import Key
    from beanpole.options.settings import Settings

_SEVERITIES: tuple[Severity, ...] = (
    "NoInterruption",
    "Unknown",
    "RestartApplicationServer",
    "RestartDatabase",
    "RestartEnvironment",
)
"""From harmless to heavy."""

_BALANCER = ("aws:elasticbeanstalk:environment:process:", "aws:elb:", "aws:elbv2:")
_SCALE = {
    ("aws:autoscaling:asg", "MinSize"),
    ("aws:autoscaling:asg", "MaxSize"),
    (ENVIRONMENT, "EnvironmentType"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One option whose value differs; None stands for "no value". Values may be secrets: show names only."""

    namespace: str
    name: str
    resource: str
    old: str | None
    new: str | None
    severity: Severity

    @property
    def needs_release(self) -> bool:
        """The application's processes see it: environment properties, what makes the server command, and their like."""
        return self.severity == "RestartApplicationServer"

    @property
    def touches_balancer(self) -> bool:
        return self.namespace.startswith(_BALANCER) or self.namespace == "aws:elasticbeanstalk:application"

    @property
    def touches_scale(self) -> bool:
        return (self.namespace, self.name) in _SCALE


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences, sorted. False when there is none. What asks for nothing below is stored and no more."""

    options: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.options)

    @property
    def severity(self) -> Severity:
        """The worst one; "NoInterruption" for no change."""
        return max((change.severity for change in self.options), key=_SEVERITIES.index, default="NoInterruption")

    @property
    def needs_release(self) -> bool:
        return any(change.needs_release for change in self.options)

    @property
    def touches_balancer(self) -> bool:
        return any(change.touches_balancer for change in self.options)

    @property
    def touches_scale(self) -> bool:
        return any(change.touches_scale for change in self.options)


def diff(registry: Registry, old: Settings, new: Settings) -> Changes:
    """How `new` differs from `old` in effect: a value set to what was the default anyway is no change."""
    before, after = dict(old.items()), dict(new.items())
    return Changes(tuple(
        Change(*key, before.get(key), after.get(key), _severity(registry, key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ))  # fmt: skip


def _severity(registry: Registry, key: Key) -> Severity:
    option = registry.find(*key)
    return option.severity if option else "Unknown"
