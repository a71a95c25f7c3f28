"""`beanpole list`: every environment in a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import Environment, every_environment
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
    live = every_environment(api, **({"ApplicationName": application} if application else {}))
    if json:
        terminal.result({"environments": [each.as_json() for each in live]})
    elif live:
        table_of(terminal, live)
    else:
        terminal.say("No environments: `beanpole deploy` creates one.")


def table_of(terminal: Terminal, live: Sequence[Environment]) -> None:
    default = Workspace.around(Path.cwd()).environment
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
