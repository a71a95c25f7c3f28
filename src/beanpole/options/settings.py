"""The values in force in one environment, as one immutable value.

Built by `precedence.resolve`; read through typed getters, which raise for an option that is not registered (that is a
mistake of ours) and never for a value, because values were validated before they were stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from beanpole.options.option import Option
from beanpole.options.setting import ENVIRONMENT_PROPERTIES, Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from beanpole.options.registry import Registry

ENVIRONMENT = "aws:elasticbeanstalk:environment"

_DURATION = re.compile(r"PT(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?", re.ASCII)
"""Nine digits are 31 years of seconds; without a limit a number has no float."""

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)

_UNLISTED = ("aws:cloudformation:", "aws:rds:dbinstance")
"""Templates and databases are not ours. Listing their defaults would tell of things that do not exist."""

_ALWAYS_LISTED = {(ENVIRONMENT, "LoadBalancerIsShared"), ("aws:rds:dbinstance", "HasCoupledDatabase")}
"""`eb terminate` reads LoadBalancerIsShared without asking whether it is there."""


def duration(text: str) -> float | None:
    """Seconds of "90", "0.5" or ISO 8601 "PT1H30M"; None for anything else."""
    if match := _DURATION.fullmatch(text):
        hours, minutes, seconds = (int(group or 0) for group in match.groups())
        return None if text == "PT" else float(hours * 3600 + minutes * 60 + seconds)
    return float(text) if _SECONDS.fullmatch(text) else None


@dataclass(frozen=True)
class Listed:
    """One line of DescribeConfigurationSettings; value None: the option has no value."""

    namespace: str
    name: str
    resource: str
    value: str | None


class Settings:
    """`values` holds every option of the environment's tier and platform; None: neither value nor default.

    `chosen` are the keys that somebody set, in contrast to defaults.
    """

    def __init__(self, registry: Registry, values: Mapping[Key, str | None], chosen: frozenset[Key]) -> None:
        self._registry = registry
        self._values = MappingProxyType(dict(values))
        self.chosen = chosen

    @classmethod
    def from_rows(cls, registry: Registry, rows: Iterable[tuple[str, str, str, str]]) -> Settings:
        """The settings that `rows()` gave, as a release keeps them. All of them count as chosen."""
        values = {(namespace, name, resource): value for namespace, name, resource, value in rows}
        return cls(registry, values, frozenset(values))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(namespace, name, resource, value) of everything that has a value, sorted. Freezes the defaults of today."""
        return [(*key, value) for key, value in sorted(self._values.items()) if value is not None]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self._values == other._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def get(self, namespace: str, name: str, resource: str = "") -> str | None:
        """The value in force, or the default, or None. KeyError for an option that does not exist."""
        key = (namespace, name, resource)
        if key in self._values:
            return self._values[key]
        option = self._registry.find(namespace, name, resource)
        if option is None:
            raise KeyError(f"no option {name!r} in namespace {namespace!r}")
        return option.default

    def text(self, namespace: str, name: str, resource: str = "") -> str:
        """As `get`, with "" where there is no value."""
        return self.get(namespace, name, resource) or ""

    def integer(self, namespace: str, name: str, resource: str = "") -> int:
        """KeyError where neither a value nor a default exists."""
        return int(self._required(namespace, name, resource))

    def number(self, namespace: str, name: str, resource: str = "") -> float:
        """As `integer`, of an option that may have a fraction."""
        return float(self._required(namespace, name, resource))

    def boolean(self, namespace: str, name: str, resource: str = "") -> bool:
        """False where there is no value."""
        return self.text(namespace, name, resource).lower() == "true"

    def seconds(self, namespace: str, name: str, resource: str = "") -> float:
        """A length of time that the option states in seconds or as ISO 8601 ("PT5M")."""
        text = self._required(namespace, name, resource)
        seconds = duration(text)
        if seconds is None:
            raise ValueError(f"{name!r} in {namespace!r} is no length of time: {text!r}")
        return seconds

    def environment(self) -> dict[str, str]:
        """The environment properties that somebody set, by name."""
        return {
            name: value
            for (namespace, name, _), value in sorted(self._values.items())
            if namespace == ENVIRONMENT_PROPERTIES and value is not None
        }

    def listed(self) -> list[Listed]:
        """What DescribeConfigurationSettings shows, sorted by namespace and name.

        That order puts EnvironmentType first in its namespace, where `eb scale` looks for it. Options without meaning
        under this environment type and load balancer are listed only when somebody set them.
        """
        return [Listed(*key, value) for key, value in sorted(self._values.items()) if self._is_listed(key, value)]

    def _is_listed(self, key: Key, value: str | None) -> bool:
        namespace, name, resource = key
        if key in self.chosen or (namespace, name) in _ALWAYS_LISTED:
            return True
        if namespace.startswith(_UNLISTED) or (namespace == ENVIRONMENT_PROPERTIES and value is None):
            return False
        option = self._registry.find(namespace, name, resource)
        return option is not None and self._in_use(option)

    def _in_use(self, option: Option) -> bool:
        return option.in_use(
            environment_type=self.text(ENVIRONMENT, "EnvironmentType"),
            balancer=self.text(ENVIRONMENT, "LoadBalancerType"),
        )

    def items(self) -> Iterator[tuple[Key, str | None]]:
        """Every key with its value, in no particular order."""
        return iter(self._values.items())

    def _required(self, namespace: str, name: str, resource: str) -> str:
        value = self.get(namespace, name, resource)
        if value is None:
            raise KeyError(f"option {name!r} in namespace {namespace!r} has no value and no default")
        return value
