"""`beanpole status`: the control plane and its environments, or one environment with its instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import Environment, every_environment, the_environment
from beanpole.cli.errors import Refused
from beanpole.cli.listing import table_of
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADS = ("INSTANCE", "HEALTH", "RELEASE", "VERSION", "STATE", "REQUESTS", "CAUSES")

RELEASES = 50
"""How far back the running release is looked for."""


def status(
    environment: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV", show_default=False, help="One environment, with its instances; else all of them."
        ),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show the control plane and its environments, or one in detail."""
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    if environment is None:
        _overview(api, terminal)
    else:
        _detail(terminal, _portrait(api, the_environment(api, environment)))


@dataclass(frozen=True)
class Portrait:
    """An environment and everything that is shown of it; `requests` is None where nobody can tell just now."""

    environment: Environment
    health: str
    causes: list[str]
    release: int | None
    instances: list[dict[str, Any]]
    requests: dict[str, Any] | None


def _overview(api: Api, terminal: Terminal) -> None:
    plane = api.beanpole("DescribeControlPlane")
    live = every_environment(api)
    pid = api.endpoint.pid
    facts = {
        "pid": pid,
        "api": api.endpoint.url,
        "balancer": plane.get("BalancerUrl"),
        "version": plane.get("Version"),
        "home": plane.get("Home"),
        "database": plane.get("Database"),
        "region": plane.get("Region"),
        "instances": plane.get("Instances"),
    }
    if terminal.json:
        terminal.result({"control_plane": facts, "environments": [each.as_json() for each in live]})
        return
    running = f"running (pid {pid})" if pid is not None else "running"
    _facts(
        terminal,
        ("Control plane", f"{running} at {api.endpoint.url}, version {plane.get('Version', 'unknown')}"),
        ("Balancer", facts["balancer"]),
        ("Home", facts["home"]),
        ("Database", facts["database"]),
        ("Region", facts["region"]),
        ("Instances", facts["instances"]),
    )
    terminal.say()
    if live:
        table_of(terminal, live)
    else:
        terminal.say("No environments yet: `beanpole deploy` creates one.")


def _portrait(api: Api, environment: Environment) -> Portrait:
    name = environment.name
    health = api.optional("DescribeEnvironmentHealth", EnvironmentName=name, AttributeNames=["All"]) or {}
    releases = api.beanpole("DescribeReleases", EnvironmentName=name, MaxRecords=RELEASES).get("Releases", [])
    try:
        requests = api.beanpole("DescribeRequests", EnvironmentName=name)
    except Refused:
        requests = None  # the balancer counts them; the rest is worth showing while it cannot be asked
    return Portrait(
        environment=environment,
        health=health.get("HealthStatus") or environment.health,
        causes=health.get("Causes", []),
        release=next((each["Number"] for each in releases if each.get("Current")), None),
        instances=_instances(api, environment),
        requests=requests,
    )


def _instances(api: Api, environment: Environment) -> list[dict[str, Any]]:
    """With their health; where the environment has none, only their ids."""
    answer = api.optional("DescribeInstancesHealth", EnvironmentName=environment.name, AttributeNames=["All"])
    if answer is not None:
        return list(answer.get("InstanceHealthList", []))
    listed = api.beanstalk("DescribeEnvironmentResources", EnvironmentName=environment.name)
    return [{"InstanceId": each["Id"]} for each in listed["EnvironmentResources"].get("Instances", [])]


def _detail(terminal: Terminal, found: Portrait) -> None:
    environment, requests = found.environment, found.requests
    counts = {"served": requests.get("Served", 0), "failed": requests.get("Failed", 0)} if requests else None
    if terminal.json:
        facts = {"health": found.health, "causes": found.causes, "release": found.release, "requests": counts}
        instances = [_instance_json(each) for each in found.instances]
        terminal.result(environment.as_json() | facts | {"instances": instances})
        return
    version = f"{environment.version} (release {found.release})" if found.release else environment.version
    counted = f"{counts['served']:,} served, {counts['failed']:,} failed in all" if counts else "not known now"
    _facts(
        terminal,
        ("Environment", environment.name),
        ("Application", environment.application),
        ("Status", terminal.coloured(environment.status)),
        ("Health", terminal.coloured(found.health)),
        *(("", printable(cause)) for cause in found.causes),
        ("Version", version or "none yet"),
        ("Platform", environment.stack),
        ("URL", environment.url),
        ("Ends", f"{environment.terminate_at:%F %R} UTC, by itself" if environment.terminate_at else None),
        ("Requests", counted),
    )
    terminal.say()
    recent = {each["InstanceId"]: each for each in (requests or {}).get("PerInstance", [])}
    if found.instances:
        terminal.table(HEADS, [_row(each, recent.get(each["InstanceId"])) for each in found.instances])
    else:
        terminal.say("No instances.")


def _row(instance: dict[str, Any], recent: dict[str, Any] | None) -> tuple[str, ...]:
    deployment = instance.get("Deployment") or {}
    return (
        instance["InstanceId"],
        instance.get("HealthStatus", "Unknown"),
        str(deployment.get("DeploymentId") or ""),
        deployment.get("VersionLabel") or "",
        deployment.get("Status") or "",
        f"{recent.get('Served', 0):,}/min" if recent else "",
        "; ".join(instance.get("Causes", [])),
    )


def _instance_json(instance: dict[str, Any]) -> dict[str, Any]:
    deployment = instance.get("Deployment") or {}
    return {
        "instance": instance["InstanceId"],
        "health": instance.get("HealthStatus"),
        "causes": instance.get("Causes", []),
        "release": deployment.get("DeploymentId"),
        "version": deployment.get("VersionLabel"),
        "state": deployment.get("Status"),
        "launched_at": instance.get("LaunchedAt"),
    }


def _facts(terminal: Terminal, *facts: tuple[str, Any]) -> None:
    known: Iterable[tuple[str, Any]] = ((name, value) for name, value in facts if value is not None)
    for name, value in known:
        terminal.say(f"{name:<15}{value}")
