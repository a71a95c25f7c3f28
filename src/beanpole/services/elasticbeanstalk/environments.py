"""Operations on environments: create, describe, update, restart, abort, rebuild, terminate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import create, errors, settings, terminate, update
from beanpole.control.abort import abort
from beanpole.control.base import Base
from beanpole.control.compose_group import compose_group
from beanpole.control.context import By, Control, the_environment
from beanpole.control.rebuild import rebuild
from beanpole.control.restart import restart
from beanpole.control.update import Update
from beanpole.services.elasticbeanstalk import paging, shapes, tags, template_source
from beanpole.store import environments, instances, links, operations

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.aws.call import Call
    from beanpole.options.setting import Setting
    from beanpole.store.environments import Environment
    from beanpole.store.links import Link
    from beanpole.store.operations import Operation


RECENT_MS = 60 * 60 * 1000
"""Milliseconds for which an environment that ended is shown to who names it and does not say whether to include deleted
ones. SDKs wait for `Terminated` like that; Elastic Beanstalk shows them for about an hour."""


class Environments:
    def __init__(self, control: Control) -> None:
        self._control = control

    def create(self, call: Call) -> dict[str, Any]:
        params = call.params
        base = template_source.base_of(self._control, params, params["ApplicationName"])
        tier = params.get("Tier") or {}
        wanted = create.NewEnvironment(
            application=params["ApplicationName"],
            name=_environment_name(params) or _no_name(),
            version_label=params.get("VersionLabel") or base.version_label,
            platform=template_source.branch_named(self._control, params, base),
            cname_prefix=params.get("CNAMEPrefix"),
            description=params.get("Description"),
            tier=tier.get("Name") or base.tier or "WebServer",
            base=base.settings,
            changes=settings.given(params.get("OptionSettings", [])),
            removals=settings.removed(params.get("OptionsToRemove", [])),
            tags=base.tags | tags.given(params.get("Tags", [])),
        )
        return self._one(create.create(self._control, _by(call), wanted))

    def describe(self, call: Call) -> dict[str, Any]:
        params = call.params
        names, ids = params.get("EnvironmentNames") or None, params.get("EnvironmentIds") or None
        include = params.get("IncludeDeleted")
        deleted_since = None
        if include:
            since = params.get("IncludedDeletedBackTo")
            deleted_since = int(since.timestamp() * 1000) if since else 0
        elif include is None and (names or ids):
            deleted_since = self._control.database.now_ms() - RECENT_MS
        with self._control.database.read() as db:
            found = environments.listed(
                db,
                application=params.get("ApplicationName"),
                names=names,
                ids=ids,
                version_label=params.get("VersionLabel"),
                deleted_since=deleted_since,
            )
            if include is None:
                found = _without_predecessors(found)
            under_way = {each.environment_id: each for each in operations.open_of_users(db)}
            linked = links.every(db)
            page, token = paging.page(found, params.get("NextToken"), params.get("MaxRecords"))
            shaped = [self._shape(db, each, under_way.get(each.id), linked.get(each.id, [])) for each in page]
        return {"Environments": shaped, "NextToken": token}

    def update(self, call: Call) -> dict[str, Any]:
        params = call.params
        wanted, name = self.wanted(params), _environment_name(params)
        return self._one(update.update(self._control, _by(call), wanted, name=name, id_=params.get("EnvironmentId")))

    def wanted(self, params: dict[str, Any]) -> Update:
        """What an update asks for, from the parameters of UpdateEnvironment or of our own planning call."""
        removals = settings.removed(params.get("OptionsToRemove", []))
        named = "PlatformArn" in params or "SolutionStackName" in params
        return Update(
            application=params.get("ApplicationName"),
            tier=_tier(params.get("Tier") or {}),
            version_label=params.get("VersionLabel"),
            platform=template_source.branch_named(self._control, params, Base()) if named else None,
            description=params.get("Description"),
            changes=[
                *(each for each in self._of_template(params) if each.key not in removals),
                *settings.given(params.get("OptionSettings", [])),
            ],
            removals=removals,
        )

    def _of_template(self, params: dict[str, Any]) -> list[Setting]:
        """The settings of the saved configuration, or of the document, that the update of an environment names."""
        if "TemplateName" not in params and not params.get("TemplateSpecification"):
            return []
        with self._control.database.read() as db:
            environment = the_environment(db, name=_environment_name(params), id_=params.get("EnvironmentId"))
        return template_source.settings_for(self._control, params, environment.application, environment.tier)

    def compose(self, call: Call) -> dict[str, Any]:
        params = call.params
        if "ApplicationName" not in params:
            raise errors.missing("ApplicationName is required.")
        labels = params.get("VersionLabels", [])
        begun = compose_group(self._control, _by(call), params["ApplicationName"], params.get("GroupName"), labels)
        return {"Environments": [self._one(each) for each in begun], "NextToken": None}

    def abort(self, call: Call) -> None:
        params = call.params
        abort(self._control, _by(call), name=params.get("EnvironmentName"), id_=params.get("EnvironmentId"))

    def restart(self, call: Call) -> None:
        name, id_ = call.params.get("EnvironmentName"), call.params.get("EnvironmentId")
        restart(self._control, _by(call), name=name, id_=id_)

    def rebuild(self, call: Call) -> None:
        params = call.params
        rebuild(self._control, _by(call), name=params.get("EnvironmentName"), id_=params.get("EnvironmentId"))

    def terminate(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("TerminateResources") is False:
            raise errors.invalid("TerminateResources=false is not built: terminating ends the environment's processes.")
        name, id_ = params.get("EnvironmentName"), params.get("EnvironmentId")
        if not params.get("ForceTerminate", False):
            self._refuse_linked(name, id_)
        return self._one(terminate.terminate(self._control, _by(call), name=name, id_=id_))

    def _refuse_linked(self, name: str | None, id_: str | None) -> None:
        """Raises the API's error for an environment that another one of its group depends on."""
        with self._control.database.read() as db:
            environment = the_environment(db, name=name, id_=id_)
            others = [other for other in links.dependents(db, environment.name) if other != environment.name]
        if others:
            words = f"{', '.join(others)} depends on environment {environment.name} by a link."
            raise errors.invalid(f"{words} Give ForceTerminate to terminate it all the same.")

    def resources(self, call: Call) -> dict[str, Any]:
        name, id_ = call.params.get("EnvironmentName"), call.params.get("EnvironmentId")
        with self._control.database.read() as db:
            environment = the_environment(db, name=name, id_=id_)
            found = instances.listed(db, environment.id)
        return {
            "EnvironmentResources": {
                "EnvironmentName": environment.name,
                "AutoScalingGroups": [],
                "Instances": [{"Id": instance.id} for instance in found],
                "LaunchConfigurations": [],
                "LaunchTemplates": [],
                # None: the balancer is ours, and clients ask the ELB service about every one that is listed.
                "LoadBalancers": [],
                "Triggers": [],
                "Queues": [],
            }
        }

    def storage_location(self, _call: Call) -> dict[str, Any]:
        self._control.objects.create_bucket(self._control.bucket)
        return {"S3Bucket": self._control.bucket}

    def _one(self, environment: Environment) -> dict[str, Any]:
        with self._control.database.read() as db:
            under_way = next((each for each in operations.open_of_users(db, environment.id)), None)
            return self._shape(db, environment, under_way, links.of(db, environment.id))

    def _shape(
        self, db: sa.Connection, environment: Environment, under_way: Operation | None, linked: list[Link]
    ) -> dict[str, Any]:
        """Before the first version has passed, the one that is being launched is shown, as Elastic Beanstalk does."""
        shaped = shapes.environment(self._control, environment, under_way, linked)
        if under_way is not None and under_way.kind == "create":
            release = environments.find_release(db, environment.id, under_way.release)
            shaped["VersionLabel"] = release.version_label if release else None
        return shaped


def _by(call: Call) -> By:
    return By(call.caller.user, call.request_id)


def _no_name() -> str:
    raise errors.missing("EnvironmentName is required: only ComposeEnvironments takes names from manifests.")


def _without_predecessors(found: list[Environment]) -> list[Environment]:
    """Who asks by name means the one that lives now, and waits for its status alone."""
    live = {each.name for each in found if each.terminated_at is None}
    return [each for each in found if each.terminated_at is None or each.name not in live]


def _tier(params: dict[str, Any]) -> str | None:
    """The name of the tier that a call means by its name or its type."""
    kind = params.get("Type")
    of_kind = next((name for name, tier in shapes.TIERS.items() if tier["Type"] == kind), kind)
    return params.get("Name") or of_kind


def _environment_name(params: dict[str, Any]) -> str | None:
    """The name that a call means. With a group, the manifest's `front+` of group `dev` is the environment front-dev."""
    name, group = params.get("EnvironmentName"), params.get("GroupName")
    if group is None:
        return name
    if name is None:
        raise errors.combination("GroupName goes with EnvironmentName: an EnvironmentId needs no group.")
    suffix = f"-{group}"
    return name if name.endswith(suffix) else f"{name.removesuffix('+')}{suffix}"
