"""Option settings: what is in force, and whether others would be accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import compose, errors, settings
from beanpole.control.context import Control, the_environment
from beanpole.operations.brought import brought
from beanpole.options.validate import validate
from beanpole.services.elasticbeanstalk import shapes
from beanpole.store import applications, environments, operations

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.aws.call import Call
    from beanpole.options.settings import Settings
    from beanpole.store.environments import Environment


class ConfigurationSettings:
    def __init__(self, control: Control) -> None:
        self._control = control

    def describe(self, call: Call) -> dict[str, Any]:
        """What is deployed, first; while an update is under way also what is pending."""
        params = call.params
        if "TemplateName" in params:
            raise errors.invalid(f"No Configuration Template named '{params['TemplateName']}' found.")
        if "EnvironmentName" not in params:
            raise errors.missing("Either TemplateName or EnvironmentName must be specified.")
        with self._control.database.read() as db:
            if applications.find(db, params["ApplicationName"]) is None:
                raise errors.no_application(params["ApplicationName"])
            environment = the_environment(db, name=params["EnvironmentName"])
            if environment.application != params["ApplicationName"]:
                raise errors.no_environment(environment.name)
            deployed = self._deployed(db, environment)
            pending = self._pending(db, environment)
        described = [self._shape(environment, deployed, "deployed")]
        if pending is not None:
            described.append(self._shape(environment, pending, "pending"))
        return {"ConfigurationSettings": described}

    def validate(self, call: Call) -> dict[str, Any]:
        params = call.params
        given = settings.given(params.get("OptionSettings", []))
        name = params.get("EnvironmentName")
        with self._control.database.read() as db:
            if applications.find(db, params["ApplicationName"]) is None:
                raise errors.no_application(params["ApplicationName"])
            environment = the_environment(db, name=name) if name is not None else None
            stored = environments.options(db, environment.id) if environment else {}
            before = self._deployed(db, environment) if environment else None
        merged = compose.settings_in_force(self._control, settings.after(stored, given, set()), [])
        problems = validate(self._control.registry, settings.CONTEXT, given, merged, previous=before)
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
        platform = shapes.the_platform(self._control, environment.platform)
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
