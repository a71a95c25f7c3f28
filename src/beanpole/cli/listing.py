"""`beanpole list`: every environment in a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import Environment, every_environment
from beanpole.cli.names import nearest
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.terminal import Terminal
from beanpole.cli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADS = ("  NAME", "APPLICATION", "STATUS", "HEALTH", "VERSION", "URL")


def list_environments(
    application: Annotated[
        str | None, typer.Option("--application", "-a", metavar="NAME", help="Only of this one.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List the environments.

    The default of this folder has a star.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    every = every_environment(api)
    live = [each for each in every if application in (None, each.application)]
    if json:
        terminal.result({"environments": [each.as_json() for each in live]})
    elif live:
        table_of(terminal, live)
    elif every:
        known = nearest(application or "", {each.application for each in every})
        terminal.say(f"No environment belongs to an application {application}. {known}")
    else:
        terminal.say("No environments: `beanpole deploy` creates one.")


def table_of(terminal: Terminal, live: Sequence[Environment]) -> None:
    default = Workspace.nearby(Path.cwd(), terminal.warn).environment
    terminal.table(
        HEADS,
        [
            (
                f"{'*' if each.name == default else ' '} {each.name}",
                each.application,
                each.status,
                each.health,
                each.version or "",
                each.url or "",
            )
            for each in live
        ],
    )
