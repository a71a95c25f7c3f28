"""DescribeConfigurationOptions: which options there are, and what they may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import errors, settings
from beanpole.control.context import Control, the_environment
from beanpole.services.elasticbeanstalk import shapes

if TYPE_CHECKING:
    from beanpole.aws.call import Call
    from beanpole.options.option import Option


class ConfigurationOptions:
    def __init__(self, control: Control) -> None:
        self._control = control

    def describe(self, call: Call) -> dict[str, Any]:
        """Those asked for, or all, for the platform that the call names in one way or another."""
        params = call.params
        asked = {(each.get("Namespace"), each.get("OptionName")) for each in params.get("Options", [])}
        found = [
            _shape(option)
            for option in self._control.registry
            if option.applies(tier=settings.CONTEXT.tier, platform=settings.CONTEXT.platform)
            and (not asked or not asked.isdisjoint(_answers(option)))
        ]
        platform = shapes.the_platform(self._control, self._branch(params))
        return {"Options": found} | shapes.platform_names(self._control, platform)

    def _branch(self, params: dict[str, Any]) -> str:
        if "EnvironmentName" in params:
            with self._control.database.read() as db:
                return the_environment(db, name=params["EnvironmentName"]).platform
        arn, stack = params.get("PlatformArn"), params.get("SolutionStackName")
        platforms = self._control.platforms
        found = platforms.by_arn(arn, self._control.identity.region) if arn else platforms.named(stack or "Python")
        if found is None:
            raise errors.invalid(f"No Solution Stack named '{arn or stack}' found.")
        return found.branch


def _answers(option: Option) -> set[tuple[str | None, str | None]]:
    """The questions that mean this option: a namespace alone asks for all of it, a name alone for all of that name."""
    return {(option.namespace, option.name), (option.namespace, None), (None, option.name), (None, None)}


def _shape(option: Option) -> dict[str, Any]:
    return {
        "Namespace": option.namespace,
        "Name": option.name,
        "DefaultValue": option.default,
        "ChangeSeverity": option.severity,
        "UserDefined": False,
        "ValueType": "List" if option.type in ("List", "CommaSeparatedList", "KeyValueList") else "Scalar",
        "ValueOptions": list(option.choices),
        "MinValue": int(option.min) if option.min is not None else None,
        "MaxValue": int(option.max) if option.max is not None else None,
        "MaxLength": option.max_length,
    }
