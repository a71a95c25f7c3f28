"""Option settings that a command line asks for, and which of them would change anything. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import Misused
from beanpole.options.smoke import BadSmokeTests, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROPERTIES = "aws:elasticbeanstalk:application:environment"
COMMAND = "aws:elasticbeanstalk:command"
GROUP = "aws:autoscaling:asg"
DEPLOYMENT = "beanpole:deployment"
FLEET = "beanpole:fleet"
LOCATION = (FLEET, "Location")

Key = tuple[str, str]
"""Namespace and name."""


class Policy(StrEnum):
    ROLLING = "rolling"
    ALL_AT_ONCE = "all-at-once"
    ADDITIONAL_BATCH = "additional-batch"
    IMMUTABLE = "immutable"
    TRAFFIC_SPLITTING = "traffic-splitting"


API_POLICY = {
    Policy.ROLLING: "Rolling",
    Policy.ALL_AT_ONCE: "AllAtOnce",
    Policy.ADDITIONAL_BATCH: "RollingWithAdditionalBatch",
    Policy.IMMUTABLE: "Immutable",
    Policy.TRAFFIC_SPLITTING: "TrafficSplitting",
}

FIRST: dict[Key, str] = {
    (COMMAND, "DeploymentPolicy"): "Rolling",
    (COMMAND, "BatchSizeType"): "Fixed",
    (COMMAND, "BatchSize"): "1",
    ("aws:elasticbeanstalk:healthreporting:system", "SystemType"): "enhanced",
    ("aws:elasticbeanstalk:environment", "LoadBalancerType"): "application",
    (GROUP, "MinSize"): "1",
    (GROUP, "MaxSize"): "1",
}
"""What an environment has that `beanpole deploy` creates, unless the command line says otherwise."""


@dataclass(frozen=True)
class Wanted:
    """Values by namespace and name; None: to be removed, so that the default holds again."""

    values: dict[Key, str | None]

    @property
    def least(self) -> str | None:
        """How many instances are asked for; None where nothing is said of them."""
        return self.values.get((GROUP, "MinSize"))

    def for_new(self) -> list[dict[str, str]]:
        """Option settings of an environment that is created."""
        values = FIRST | {key: value for key, value in self.values.items() if value is not None}
        return [_setting(key, value) for key, value in values.items()]

    def changes(self, current: Iterable[dict[str, Any]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """What differs from the settings in force: OptionSettings and OptionsToRemove of an update."""
        now = {(each["Namespace"], each["OptionName"]): each.get("Value") for each in current}
        different = {key: value for key, value in self.values.items() if now.get(key) != value}
        put = [_setting(key, value) for key, value in different.items() if value is not None]
        gone = [_name(key) for key, value in different.items() if value is None]
        return put, gone


def wanted(
    *,
    instances: int | None = None,
    policy: Policy | None = None,
    batch_size: int | None = None,
    properties: Sequence[str] = (),
    options: Sequence[str] = (),
    smoke: Sequence[str] = (),
    labels: Sequence[str] = (),
    local: bool = False,
) -> Wanted:
    """Raises Misused with the words at fault; values are not repeated, they may be secrets."""
    values: dict[Key, str | None] = {}
    for text in properties:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Misused(f"--env takes NAME=VALUE, not {name!r}.", "NAME= (without a value) removes the variable.")
        values[PROPERTIES, name] = value or None
    for text in options:
        key, equals, value = text.partition("=")
        namespace, colon, name = key.rpartition(":")
        if not equals or not colon or not namespace or not name:
            raise Misused(f"--option takes NAMESPACE:NAME=VALUE, not {key!r}.", _EXAMPLE)
        values[namespace, name] = value
    if smoke:
        values[DEPLOYMENT, "SmokeTests"] = _smoke_tests(smoke)
    if instances is not None:
        values |= {(GROUP, "MinSize"): str(instances), (GROUP, "MaxSize"): str(instances)}
    if policy is not None:
        values[COMMAND, "DeploymentPolicy"] = API_POLICY[policy]
    if batch_size is not None:
        values |= {(COMMAND, "BatchSizeType"): "Fixed", (COMMAND, "BatchSize"): str(batch_size)}
    if labels and local:
        raise Misused("--on and --local contradict each other.", "Say where the instances shall live: one of the two.")
    if labels:
        values |= {LOCATION: "ssh", (FLEET, "Labels"): ",".join(labels)}
    if local:
        values[LOCATION] = "local"
    return Wanted(values)


def _smoke_tests(texts: Sequence[str]) -> str | None:
    """In one line, as they are shown; nothing but empty words removes those that there are. Raises Misused."""
    try:
        return ", ".join(test.words for test in parse("\n".join(texts))) or None
    except BadSmokeTests as problem:
        raise Misused(f"--smoke: {problem}.", "For example --smoke '/health 200'.") from None


def location_of(current: Iterable[dict[str, Any]]) -> str | None:
    """Where the instances of an environment with these settings live."""
    return next((each.get("Value") for each in current if (each["Namespace"], each["OptionName"]) == LOCATION), None)


def least_of(current: Iterable[dict[str, Any]]) -> str | None:
    """How many instances the settings in force have at least: as many as there are, unless one is on its way."""
    return next(
        (each.get("Value") for each in current if (each["Namespace"], each["OptionName"]) == (GROUP, "MinSize")), None
    )


_EXAMPLE = "For example --option aws:elasticbeanstalk:command:Timeout=300."


def _setting(key: Key, value: str) -> dict[str, str]:
    return _name(key) | {"Value": value}


def _name(key: Key) -> dict[str, str]:
    return {"Namespace": key[0], "OptionName": key[1]}
