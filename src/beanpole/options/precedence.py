"""Which value of an option is in force: the call's, else the saved configuration's, the files', or the default.

What calls and saved configurations set is stored with the environment; file values are read anew from each version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.options.setting import ENVIRONMENT_PROPERTIES
from beanpole.options.settings import ENVIRONMENT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beanpole.options.registry import Registry
    from beanpole.options.setting import Key, Setting

GROUP = "aws:autoscaling:asg"
ROLLING_UPDATE = "aws:autoscaling:updatepolicy:rollingupdate"
_IMPLY_ROLLING_UPDATES = ("MaxBatchSize", "MinInstancesInService", "PauseTime")
"""Who sets one of these wants rolling updates, unless they are turned off by name."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an environment is besides its settings: tier "WebServer" or "Worker", platform family in lower case."""

    tier: str = "WebServer"
    platform: str = "python"


def resolve(
    registry: Registry,
    context: Context,
    *,
    stored: Iterable[Setting] = (),
    saved: Iterable[Setting] = (),
    files: Iterable[Setting] = (),
) -> Settings:
    """The settings in force. Within one source the later of two values of one option wins, as `eb create` relies on.

    `stored` is what calls set, the present one last. Unregistered options are left out: `validate` names them. A
    single-instance environment has exactly one instance, whatever the sizes say.
    """
    values: dict[Key, str | None] = {
        (option.namespace, option.name, ""): option.default
        for option in registry.ordinary()
        if option.applies(tier=context.tier, platform=context.platform) and option.namespace != ENVIRONMENT_PROPERTIES
    }
    chosen: dict[Key, str] = {}
    for source in (files, saved, stored):
        for setting in source:
            if option := registry.find(*setting.key):
                chosen[option.namespace, option.name, setting.resource] = option.canonical(setting.value)
    for namespace, _, _ in chosen:
        for option in registry.of_own_name(namespace):
            values.setdefault((namespace, option.name, ""), option.default)
    values.update(chosen)
    _derive(values, chosen)
    return Settings(registry, values, frozenset(chosen))


def _derive(values: dict[Key, str | None], chosen: Mapping[Key, str]) -> None:
    """Values that follow from others: they have no fixed default."""
    single = values[ENVIRONMENT, "EnvironmentType", ""] == "SingleInstance"
    if single:
        values[GROUP, "MinSize", ""] = values[GROUP, "MaxSize", ""] = "1"
    implied = any(chosen.get((ROLLING_UPDATE, name, "")) for name in _IMPLY_ROLLING_UPDATES)
    if implied and not single and (ROLLING_UPDATE, "RollingUpdateEnabled", "") not in chosen:
        values[ROLLING_UPDATE, "RollingUpdateEnabled", ""] = "true"
    least, most = (values[GROUP, name, ""] or "" for name in ("MinSize", "MaxSize"))
    if least.isdecimal() and most.isdecimal():
        batch, in_service = (ROLLING_UPDATE, "MaxBatchSize", ""), (ROLLING_UPDATE, "MinInstancesInService", "")
        values[batch] = values[batch] or str(max(1, -(-int(least) // 3)))
        values[in_service] = values[in_service] or str(max(0, min(int(least), int(most) - 1)))
