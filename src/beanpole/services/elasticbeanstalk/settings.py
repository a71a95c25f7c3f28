"""Option settings: what is in force, and whether others would be accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.aws.errors import AwsError
from beanpole.control import compose, errors, settings, templates
from beanpole.control.context import Control, the_environment
from beanpole.operations.brought import brought
from beanpole.options.validate import validate
from beanpole.services.elasticbeanstalk import shapes, template_source
from beanpole.services.elasticbeanstalk.templates import described
from beanpole.store import applications, environments, operations

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.aws.call import Call
    from beanpole.options.problem import Problem
    from beanpole.options.settings import Settings
    from beanpole.store.environments import Environment


class ConfigurationSettings:
    def __init__(self, control: Control) -> None:
        self._control = control

    def describe(self, call: Call) -> dict[str, Any]:
        """What is deployed, first; while an update is under way also what is pending."""
        params = call.params
        if ("TemplateName" in params) is ("EnvironmentName" in params):
            raise errors.missing("Either TemplateName or EnvironmentName must be specified, and not both.")
        if "TemplateName" in params:
            found = templates.find(self._control, params["ApplicationName"], params["TemplateName"])
            return {"ConfigurationSettings": [described(self._control, found)]}
        with self._control.database.read() as db:
            if applications.find(db, params["ApplicationName"]) is None:
                raise errors.no_application(params["ApplicationName"])
            environment = the_environment(db, name=params["EnvironmentName"])
            if environment.application != params["ApplicationName"]:
                raise errors.no_environment(environment.name)
            deployed = self._deployed(db, environment)
            pending = self._pending(db, environment)
        shown = [self._shape(environment, deployed, "deployed")]
        if pending is not None:
            shown.append(self._shape(environment, pending, "pending"))
        return {"ConfigurationSettings": shown}

    def validate(self, call: Call) -> dict[str, Any]:
        params = call.params
        if "TemplateName" in params and "EnvironmentName" not in params:
            return self._validate_template(params)
        given = settings.given(params.get("OptionSettings", []))
        name = params.get("EnvironmentName")
        with self._control.database.read() as db:
            if applications.find(db, params["ApplicationName"]) is None:
                raise errors.no_application(params["ApplicationName"])
            environment = the_environment(db, name=name) if name is not None else None
            stored = environments.options(db, environment.id) if environment else {}
            before = self._deployed(db, environment) if environment else None
        merged = compose.settings_in_force(self._control, settings.after(stored, given, set()), [])
        return _messages(validate(self._control.registry, settings.CONTEXT, given, merged, previous=before))

    def _validate_template(self, params: dict[str, Any]) -> dict[str, Any]:
        """As `eb config put` has it done: the saved configuration with the settings of the call, if there are any."""
        application = params["ApplicationName"]
        found = templates.base_of(self._control, templates.find(self._control, application, params["TemplateName"]))
        template_source.branch_named(self._control, params, found)
        merged = {each.key: each for each in [*found.settings, *settings.given(params.get("OptionSettings", []))]}
        return _messages(templates.problems(self._control, list(merged.values())))

    def delete_draft(self, call: Call) -> None:
        """A failed update leaves no draft behind here, so there is nothing to delete once it is over."""
        params = call.params
        with self._control.database.read() as db:
            environment = the_environment(db, name=params["EnvironmentName"])
            if environment.application != params["ApplicationName"]:
                raise errors.no_environment(environment.name)
            if operations.open_of_users(db, environment.id):
                words = (
                    f"Environment named {environment.name} has an operation in progress: its draft is being deployed."
                )
                raise AwsError("OperationInProgressFailure", words)

    def _deployed(self, db: sa.Connection, environment: Environment) -> Settings:
        """With the bundle's files, which the release knows; without one, the stored settings over the defaults."""
        release = brought(db, self._control.registry, environment.id, environment.release)
        if release is None:
            return compose.settings_in_force(self._control, environments.options(db, environment.id), [])
        return compose.in_force_with(self._control, release, environments.options(db, environment.id))

    def _pending(self, db: sa.Connection, environment: Environment) -> Settings | None:
        under_way = operations.open_of_users(db, environment.id)
        if not under_way or under_way[0].kind not in ("update", "rollback"):
            return None
        release = brought(db, self._control.registry, environment.id, under_way[0].release)
        return release.settings if release else None

    def _shape(self, environment: Environment, in_force: Settings, status: str) -> dict[str, Any]:
        platform = shapes.the_platform(self._control, environment.platform, environment.platform_version)
        return {
            "ApplicationName": environment.application,
            "EnvironmentName": environment.name,
            "Description": environment.description,
            "DeploymentStatus": status,
            "DateCreated": shapes.moment(environment.created_at),
            "DateUpdated": shapes.moment(environment.updated_at),
            "OptionSettings": shapes.option_settings(in_force.listed()),
            "Tier": shapes.TIERS[environment.tier],
            **shapes.platform_names(self._control, platform),
        }


def _messages(problems: list[Problem]) -> dict[str, Any]:
    return {
        "Messages": [
            {
                "Message": problem.message,
                "Severity": problem.severity,
                "Namespace": problem.namespace,
                "OptionName": problem.name,
            }
            for problem in problems
        ]
    }
