"""One configuration option: its name, its values, where it applies and what a change of it costs.

The facts come from `registry.json` (what Elastic Beanstalk documents) and `beanpole.json` (what is ours).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["NoInterruption", "Unknown", "RestartApplicationServer", "RestartEnvironment", "RestartDatabase"]

ANY_NAME = "*"
"""The name of an option that stands for every name of its namespace, as environment properties do."""


class Option(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of one option. Empty tuples and None mean "no restriction".

    `min` and `max` are inclusive and in the option's own unit (`unit` names it where there is one).
    """

    namespace: str
    name: str
    default: str | None = None
    type: Literal["Scalar", "Boolean", "List", "CommaSeparatedList", "KeyValueList", "Json"] = "Scalar"
    choices: tuple[str, ...] = ()
    min: int | float | None = None
    max: int | float | None = None
    max_length: int | None = None
    regex: str | None = None
    severity: Severity = "Unknown"
    tier: tuple[str, ...] = ()
    environment_type: tuple[str, ...] = ()
    balancer: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    enforced: bool = True
    case_sensitive: bool = False
    per_resource: bool = False
    documented: bool = True
    unit: str | None = None
    description: str = ""

    @property
    def open_named(self) -> bool:
        return self.name == ANY_NAME

    def canonical(self, value: str) -> str:
        """The value in the spelling of its list of choices ("TRUE" → "true"); unchanged where that makes no sense."""
        if self.case_sensitive or self.type == "CommaSeparatedList":
            return value
        return next((choice for choice in self.choices if choice.lower() == value.lower()), value)

    def applies(self, *, tier: str, platform: str) -> bool:
        """Whether an environment of that tier and platform family ("python") has this option at all."""
        return (not self.tier or tier in self.tier) and (not self.platform or platform in self.platform)

    def in_use(self, *, environment_type: str, balancer: str) -> bool:
        """Whether the option has a meaning under the chosen environment type and kind of load balancer."""
        if self.environment_type and environment_type not in self.environment_type:
            return False
        return not self.balancer or balancer in self.balancer


class NotBuilt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An option of Elastic Beanstalk that we know and do not act on; `unless` lists values that are harmless."""

    namespace: str
    name: str
    severity: Literal["error", "warning"]
    message: str
    unless: tuple[str, ...] = ()

    def concerns(self, namespace: str, name: str, value: str) -> bool:
        return self.namespace == namespace and self.name in (ANY_NAME, name) and value not in self.unless
