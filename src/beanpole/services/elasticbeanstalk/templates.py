"""Operations on saved configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import compose, errors, settings, templates
from beanpole.control.base import Base
from beanpole.control.context import By, Control, the_environment
from beanpole.control.templates import NewTemplate, Template
from beanpole.services.elasticbeanstalk import shapes, tags, template_source
from beanpole.store import environments

if TYPE_CHECKING:
    from beanpole.aws.call import Call

NO_BASE = "You must specify either SolutionStackName or SourceConfiguration or EnvironmentId"


class ConfigurationTemplates:
    def __init__(self, control: Control) -> None:
        self._control = control

    def create(self, call: Call) -> dict[str, Any]:
        params = call.params
        base = self._base(params)
        wanted = NewTemplate(
            application=params["ApplicationName"],
            name=params["TemplateName"],
            base=base,
            platform=self._platform(params, base),
            description=params.get("Description"),
            changes=settings.given(params.get("OptionSettings", [])),
            tags=tags.given(params.get("Tags", []), tags.LIMIT),
        )
        return described(self._control, templates.create(self._control, By(call.caller.user, call.request_id), wanted))

    def update(self, call: Call) -> dict[str, Any]:
        params = call.params
        changed = templates.update(
            self._control,
            params["ApplicationName"],
            params["TemplateName"],
            description=params.get("Description"),
            changes=settings.given(params.get("OptionSettings", [])),
            removals=settings.removed(params.get("OptionsToRemove", [])),
        )
        return described(self._control, changed)

    def delete(self, call: Call) -> None:
        params = call.params
        by = By(call.caller.user, call.request_id)
        templates.delete(self._control, by, params["ApplicationName"], params["TemplateName"])

    def _base(self, params: dict[str, Any]) -> Base:
        """Of another saved configuration, of an environment by id or by name, or of a platform alone."""
        source = template_source.source_of(params)
        configuration = params.get("SourceConfiguration")
        name, id_ = source.get("EnvironmentName"), params.get("EnvironmentId")
        if sum(each is not None for each in (configuration, name, id_)) > 1:
            raise errors.combination("SourceConfiguration, EnvironmentId and EnvironmentName cannot be given together.")
        if configuration is not None:
            application = configuration.get("ApplicationName") or params["ApplicationName"]
            found = templates.find(self._control, application, configuration.get("TemplateName") or "")
            return templates.base_of(self._control, found)
        if name is None and id_ is None:
            return Base()
        with self._control.database.read() as db:
            environment = the_environment(db, name=name, id_=id_)
            if environment.application != params["ApplicationName"]:
                raise errors.no_environment(name or id_ or "")
            return templates.of_environment(environment, environments.options(db, environment.id))

    def _platform(self, params: dict[str, Any], base: Base) -> str:
        names = ("PlatformArn", "SolutionStackName")
        source = template_source.source_of(params)
        named = [name for name in names if params.get(name) or source.get(name)]
        if not named and base.platform is None:
            raise errors.invalid(templates.NO_PLATFORM if base.settings else NO_BASE)
        found = template_source.branch_named(self._control, _only(params), base)
        if named and base.platform not in (None, found):
            raise errors.combination(f"{named[0]} is not the platform of the source, which is {base.platform}.")
        return found


def described(control: Control, template: Template) -> dict[str, Any]:
    """A ConfigurationSettingsDescription: what would be in force, with every default."""
    saved = template.saved
    stored = {each.key: each.value for each in saved.settings}
    in_force = compose.settings_in_force(control, stored, [])
    platform = control.platforms.of_file(saved.platform or "")
    names = shapes.platform_names(control, platform) if platform else {"PlatformArn": saved.platform}
    return {
        "ApplicationName": template.application,
        "TemplateName": template.name,
        "Description": saved.description,
        "DateCreated": shapes.moment(template.modified_at if saved.created_at is None else saved.created_at),
        "DateUpdated": shapes.moment(template.modified_at),
        "OptionSettings": shapes.option_settings(in_force.listed()),
        "Tier": shapes.TIERS.get(saved.tier or "WebServer", shapes.TIERS["WebServer"]),
        **names,
    }


def _only(params: dict[str, Any]) -> dict[str, Any]:
    """What names a platform: TemplateName is the new one's here, and says nothing of it."""
    kept = ("PlatformArn", "SolutionStackName", "TemplateSpecification")
    return {name: params[name] for name in kept if name in params}
