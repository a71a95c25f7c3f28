"""Our nouns as the API's structures."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from beanpole.health.colors import color
from beanpole.platforms.names import Platform
from beanpole.policies.lifecycle import decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beanpole.control.context import Control
    from beanpole.options.settings import Listed
    from beanpole.store.applications import Application, Version
    from beanpole.store.environments import Environment
    from beanpole.store.links import Link
    from beanpole.store.operations import Operation

TIERS = {
    "WebServer": {"Name": "WebServer", "Type": "Standard", "Version": "1.0"},
    "Worker": {"Name": "Worker", "Type": "SQS/HTTP", "Version": "1.0"},
}


def moment(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)


def application(control: Control, found: Application, versions: list[Version], templates: list[str]) -> dict[str, Any]:
    return {
        "ApplicationArn": control.arn("application", found.name),
        "ApplicationName": found.name,
        "Description": found.description,
        "DateCreated": moment(found.created_at),
        "DateUpdated": moment(found.updated_at),
        "Versions": [version.label for version in versions],
        "ConfigurationTemplates": templates,
        "ResourceLifecycleConfig": lifecycle(found),
    }


def lifecycle(found: Application) -> dict[str, Any]:
    rules = decode(found.lifecycle)
    both = {"MaxCountRule": to_builtins(rules.count), "MaxAgeRule": to_builtins(rules.age)}
    # Left out where there is none: the EB CLI then proposes one.
    return {"VersionLifecycleConfig": both} | ({"ServiceRole": rules.service_role} if rules.service_role else {})


def version(control: Control, found: Version) -> dict[str, Any]:
    return {
        "ApplicationVersionArn": control.arn("applicationversion", found.application, found.label),
        "ApplicationName": found.application,
        "VersionLabel": found.label,
        "Description": found.description,
        "SourceBundle": {"S3Bucket": found.bucket, "S3Key": found.key},
        "DateCreated": moment(found.created_at),
        "DateUpdated": moment(found.updated_at),
        "Status": found.status,
    }


def environment(
    control: Control, found: Environment, under_way: Operation | None, linked: Iterable[Link]
) -> dict[str, Any]:
    """`under_way`: the environment's open operation of a user, if any."""
    platform = the_platform(control, found.platform, found.platform_version)
    abortable = under_way is not None and under_way.abortable
    gone = found.terminated_at is not None
    return {
        "EnvironmentName": found.name,
        "EnvironmentId": found.id,
        "ApplicationName": found.application,
        "VersionLabel": found.version_label,
        "Description": found.description,
        "CNAME": control.balancers.cname(found.cname_prefix) if found.cname_prefix else None,
        "EndpointURL": None if gone else f"{control.balancers.listen.address}:{control.balancers.listen.port}",
        "DateCreated": moment(found.created_at),
        "DateUpdated": moment(found.updated_at),
        "Status": found.status,
        "AbortableOperationInProgress": abortable,
        "Health": color(found.health),
        "HealthStatus": found.health,
        "Tier": TIERS[found.tier],
        "EnvironmentLinks": [{"LinkName": each.name, "EnvironmentName": each.target} for each in linked],
        "TerminateAt": moment(found.terminate_at) if found.terminate_at is not None else None,
        "EnvironmentArn": control.arn("environment", found.application, found.name),
        **platform_names(control, platform),
    }


def the_platform(control: Control, branch: str, version: str) -> Platform:
    """The platform of that branch and version; for one whose interpreter is gone from this machine, what it was."""
    found = control.platforms.named(branch) or Platform(branch.split()[1])
    return replace(found, version=version)


def platform_names(control: Control, platform: Platform) -> dict[str, Any]:
    return {
        "PlatformArn": platform.arn(control.identity.region),
        "SolutionStackName": platform.solution_stack,
    }


def option_settings(listed: Iterable[Listed]) -> list[dict[str, Any]]:
    return [
        {
            "Namespace": each.namespace,
            "OptionName": each.name,
            "ResourceName": each.resource or None,
            "Value": each.value,
        }
        for each in listed
    ]
