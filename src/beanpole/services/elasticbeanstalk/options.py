"""DescribeConfigurationOptions: which options there are, and what they may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import errors, settings, templates
from beanpole.control.context import Control, the_environment
from beanpole.services.elasticbeanstalk import shapes

if TYPE_CHECKING:
    from beanpole.aws.call import Call
    from beanpole.options.option import Option
    from beanpole.platforms.names import Platform


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
        return {"Options": found} | shapes.platform_names(self._control, self._platform(params))

    def _platform(self, params: dict[str, Any]) -> Platform:
        if "EnvironmentName" in params:
            with self._control.database.read() as db:
                environment = the_environment(db, name=params["EnvironmentName"])
            return shapes.the_platform(self._control, environment.platform, environment.platform_version)
        if "TemplateName" in params:
            if "ApplicationName" not in params:
                raise errors.missing("TemplateName goes with ApplicationName.")
            template = templates.find(self._control, params["ApplicationName"], params["TemplateName"])
            branch = templates.base_of(self._control, template).platform
            if branch is None:
                raise errors.invalid(templates.NO_PLATFORM)
            return shapes.the_platform(self._control, branch, self._control.platforms.version)
        arn, stack = params.get("PlatformArn"), params.get("SolutionStackName")
        platforms = self._control.platforms
        found = platforms.by_arn(arn, self._control.identity.region) if arn else platforms.named(stack or "Python")
        if found is None:
            raise errors.invalid(f"No Solution Stack named '{arn or stack}' found.")
        return found


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
