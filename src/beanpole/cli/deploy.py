"""`beanpole deploy`: from a folder to running instances, or to their next version, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.deployment import Choice, Deployment
from beanpole.cli.errors import Misused
from beanpole.cli.parameters import FOLLOW_LIMIT, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.settings import Policy, wanted
from beanpole.cli.target import Named
from beanpole.cli.terminal import Terminal
from beanpole.cli.waiting import WaitOption, patient
from beanpole.cli.workspace import Workspace


def deploy(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", show_default=False, help="The application's folder, or a zip; else this folder."),
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", metavar="NAME", help="Else this folder's default.")
    ] = None,
    application: Annotated[
        str | None, typer.Option("--application", "-a", metavar="NAME", help="Else this folder's, or its name.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", "-l", metavar="TEXT", help="What to call the version.")
    ] = None,
    instances: Annotated[
        int | None, typer.Option("--instances", "-n", metavar="N", min=1, max=1000, help="How many; at first 1.")
    ] = None,
    policy: Annotated[
        Policy | None, typer.Option("--policy", help="How versions are brought, from now on; at first rolling.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", min=1, help="Instances at once in a rolling deployment.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="An environment property; NAME= removes it.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NS:NAME=VALUE", help="Any option setting, by its namespace."),
    ] = None,
    smoke: Annotated[
        list[str] | None,
        typer.Option("--smoke", metavar="TEST", help="A critical endpoint, as '/health 200'. Replaces those so far."),
    ] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", metavar="LABEL", help="On servers that have this label; several: all.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="On the control plane's machine.")] = False,
    python: Annotated[
        str | None, typer.Option("--python", metavar="VERSION", help="As 3.11; at first the newest there is.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    allow_downtime: Annotated[
        bool, typer.Option("--allow-downtime", help="Agree that requests fail where there is no other way.")
    ] = False,
    wait: WaitOption = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Bring a folder to running instances.

    At first use this creates application and environment, later it brings the next version. An environment that this
    folder has not deployed to wants to be named.
    """
    workspace, artifact = workspace_at(folder)
    settings = wanted(
        instances=instances,
        policy=policy,
        batch_size=batch_size,
        properties=env or (),
        options=option or (),
        smoke=smoke or (),
        labels=on or (),
        local=local,
    )
    choice = Choice(
        settings=settings,
        named=Named(application, environment, artifact.stem if artifact is not None else workspace.root.name),
        label=label,
        python=python,
        artifact=artifact or workspace.artifact,
        allow_downtime=allow_downtime,
        ask=not yes,
        limit=timeout,
    )
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    deployment = Deployment(api, terminal, workspace, choice)
    patient(api, terminal, wait, deployment.rehearse if dry_run else deployment.run)


def workspace_at(path: Path | None) -> tuple[Workspace, Path | None]:
    """Of the folder named, else of the one around the current folder; and the zip, if a zip was named."""
    if path is None:
        return Workspace.around(Path.cwd()), None
    if path.suffix == ".zip" and path.is_file():
        return Workspace.at(path.absolute().parent), path.absolute()
    if not path.is_dir():
        raise Misused(f"There is no folder {path}.", "Name the application's folder, or a zip of it.")
    return Workspace.at(path.resolve()), None
