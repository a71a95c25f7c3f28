"""What an update of settings needs: nothing, a configuration deployment on the instances that run, or other instances.

The registry says of each option what its change interrupts on Elastic Beanstalk. Here an instance is a slot on a
machine, so some of that touches nothing; the decisions are in docs/decisions/0018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from beanpole.options.changes import diff
from beanpole.options.settings import ENVIRONMENT

if TYPE_CHECKING:
    from beanpole.options.changes import Change
    from beanpole.options.registry import Registry
    from beanpole.options.settings import Settings

Need = Literal["nothing", "deployment", "replacement"]

SHOWN = 4
"""Options that a sentence names; the rest is counted."""

_LAUNCH = "aws:autoscaling:launchconfiguration"

_TOUCHES_NOTHING = {
    # Both kinds of environment have the same balancer and the same instances here; only their number differs.
    (ENVIRONMENT, "EnvironmentType"),
    # How somebody looks at an instance, and who may log in to its machine: neither is part of the instance.
    ("aws:elasticbeanstalk:healthreporting:system", "SystemType"),
    (_LAUNCH, "MonitoringInterval"),
    (_LAUNCH, "EC2KeyName"),
    (_LAUNCH, "SSHSourceRestriction"),
}
"""Options whose change replaces the instances on Elastic Beanstalk and none here."""

_REPLACES = {("aws:ec2:vpc", "VPCId")}
"""Options of which the registry does not know it."""

_LABELS = ("beanpole:fleet", "Labels")


class Severity(msgspec.Struct, frozen=True):
    """`causes`: names of the options whose change needs it. Names only: values may be secrets."""

    need: Need
    causes: tuple[str, ...] = ()

    def words(self) -> str:
        """`InstanceType and RootVolumeSize change`; '' where no option is the cause."""
        if not self.causes:
            return ""
        more = len(self.causes) - SHOWN
        names = [*self.causes[:SHOWN], *([f"{more} more"] if more > 0 else [])]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        return f"{listed} change{'s' if len(self.causes) == 1 else ''}"


NOTHING = Severity("nothing")


def severity(
    registry: Registry, before: Settings | None, after: Settings, *, deploys: bool, moves: bool = False
) -> Severity:
    """`before`: the settings in force until now, None where nothing was ever deployed.

    `deploys`: what the processes can notice differs, of the version or of the settings. A replacement brings both, so
    that nothing is deployed besides. `moves`: instances live on servers that do not have the labels asked for.
    """
    changed = diff(registry, before, after).options if before is not None else ()
    moving = [change for change in changed if moves and (change.namespace, change.name) == _LABELS]
    replacing = tuple(change.name for change in changed if change in moving or _replaces(registry, change))
    if replacing:
        return Severity("replacement", replacing)
    if deploys:
        return Severity("deployment", tuple(change.name for change in changed if change.needs_release))
    return NOTHING


def _replaces(registry: Registry, change: Change) -> bool:
    key = (change.namespace, change.name)
    option = registry.find(change.namespace, change.name, change.resource)
    unset = option.default if option is not None else None
    # A release of an earlier version does not know options that are newer than it.
    if key in _TOUCHES_NOTHING or (change.old or unset or "") == (change.new or unset or ""):
        return False
    if key == (_LAUNCH, "LaunchTemplateTagPropagationEnabled"):
        return change.new == "true"
    if key == ("aws:ec2:instances", "InstanceTypes"):
        return bool(_listed(change.old) - _listed(change.new))
    return change.severity == "RestartEnvironment" or key in _REPLACES


def _listed(value: str | None) -> set[str]:
    return {word.strip() for word in (value or "").split(",") if word.strip()}
