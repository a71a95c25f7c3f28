"""Which environment a command means, and what the API knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import Misused, WrongState
from beanpole.cli.names import is_environment_name, nearest

if TYPE_CHECKING:
    import datetime as dt

    from beanpole.cli.client import Api
    from beanpole.cli.terminal import Terminal


@dataclass(frozen=True)
class Environment:
    name: str
    id: str
    application: str
    status: str
    health: str
    version: str | None
    url: str | None
    stack: str
    abortable: bool
    updated_at: dt.datetime | None
    arn: str = ""
    terminate_at: dt.datetime | None = None
    """When the control plane terminates it by itself; None: never."""

    def as_json(self) -> dict[str, Any]:
        return {
            "environment": self.name,
            "id": self.id,
            "application": self.application,
            "status": self.status,
            "health": self.health,
            "version": self.version,
            "url": self.url,
            "platform": self.stack,
            "updated_at": self.updated_at,
            "terminate_at": self.terminate_at,
        }


def environment_of(answer: dict[str, Any]) -> Environment:
    """From an EnvironmentDescription."""
    name = answer.get("CNAME")
    return Environment(
        name=answer["EnvironmentName"],
        id=answer["EnvironmentId"],
        application=answer["ApplicationName"],
        status=answer.get("Status", "Unknown"),
        health=answer.get("HealthStatus") or answer.get("Health", "Unknown"),
        version=answer.get("VersionLabel"),
        url=f"http://{name}" if name else None,
        stack=answer.get("SolutionStackName", ""),
        abortable=answer.get("AbortableOperationInProgress", False),
        updated_at=answer.get("DateUpdated"),
        arn=answer.get("EnvironmentArn", ""),
        terminate_at=answer.get("TerminateAt"),
    )


def every_environment(api: Api, **filters: Any) -> list[Environment]:
    """The live ones, by name."""
    found = api.pages("DescribeEnvironments", "Environments", IncludeDeleted=False, **filters)
    return sorted((environment_of(each) for each in found), key=lambda each: each.name)


def find(api: Api, name: str) -> Environment | None:
    if not is_environment_name(name):
        return None  # no environment can be called so, and the API would only say why
    return next(iter(every_environment(api, EnvironmentNames=[name])), None)


def the_environment(api: Api, name: str) -> Environment:
    """Raises WrongState, with the nearest name that there is."""
    found = find(api, name)
    if found is None:
        known = nearest(name, (each.name for each in every_environment(api)))
        raise WrongState(f"There is no environment {name}.", known or "`beanpole deploy` creates one.")
    return found


def the_meant(api: Api, name: str | None, terminal: Terminal, *, guess: bool = True) -> Environment:
    """The one named, else this folder's default for its branch, else (with `guess`) the only one that there is."""
    from beanpole.cli.workspace import Workspace

    if name is not None:
        return the_environment(api, name)
    workspace = Workspace.around(Path.cwd())
    if workspace.environment is not None:
        return the_environment(api, workspace.environment)
    live = every_environment(api)
    if guess and len(live) == 1:
        terminal.warn(f"The only environment: {live[0].name}.")
        return live[0]
    known = ", ".join(each.name for each in live)
    branch = f" for the branch {workspace.branch}" if workspace.has_branches else ""
    raise Misused(
        f"This folder has no default environment{branch}.",
        f"Name one of: {known}." if known else "`beanpole deploy` creates one.",
    )
