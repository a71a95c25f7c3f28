"""`beanpole bluegreen`: another version on a clone, proven there, and then the clone in the place of the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.errors import CommandFailed, Interrupted, Misused
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption
from beanpole.cli.settings import wanted
from beanpole.cli.succession import Going, Succession
from beanpole.cli.terminal import Terminal
from beanpole.cli.waiting import WaitOption, patient
from beanpole.cli.workspace import Workspace

KEEP = 15.0
"""Minutes for which the old environment is kept where nobody says otherwise: swapping back takes a moment meanwhile."""


def bluegreen(
    environment: EnvironmentArgument = None,
    version: Annotated[
        str | None,
        typer.Option("--version", "--label", "-l", metavar="LABEL", help="A version that is there already."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            "--keep", metavar="MINUTES", min=0, show_default=False, help=f"Keep the old one so long; else {KEEP:.0f}."
        ),
    ] = None,
    no_terminate: Annotated[bool, typer.Option("--no-terminate", help="Keep the old one until somebody ends it.")] = (
        False
    ),
    no_swap: Annotated[bool, typer.Option("--no-swap", help="Stop before the swap; --resume goes on.")] = False,
    smoke: Annotated[
        list[str] | None,
        typer.Option("--smoke", metavar="TEST", help="A critical endpoint, as '/health 200'. Replaces those so far."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="CLONE", show_default=False, help="What to call the clone.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with one that stopped on its way.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Go back: the old one serves, the clone ends.")] = False,
    wait: WaitOption = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Bring a version by cloning the environment and swapping names.

    The clone has the same settings and as many instances. It gets the version and has to pass all checks before the
    address leads to it. The old environment is kept for a while, so that going back is another swap. ENV may also be
    the address.
    """
    if resume and abort:
        raise Misused("--resume and --abort contradict each other.", "Go on, or go back: one of the two.")
    if no_terminate and keep is not None:
        raise Misused("--keep and --no-terminate contradict each other.", "Say one of the two.")
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    named = environment or Workspace.around(Path.cwd()).environment
    if named is None:
        raise Misused("This folder has no default environment.", "Name one, or its address.")
    settings = wanted(smoke=smoke or ())
    going = Going(
        version=version,
        keep=None if no_terminate else (KEEP if keep is None else keep) * 60,
        keep_said=no_terminate or keep is not None,
        swap=not no_swap,
        settings=settings.changes([])[0],
        clone=name,
        limit=timeout,
    )
    succession = Succession(api, terminal, named, going)
    if abort:
        act = succession.back
    elif resume:
        act = succession.resume
    else:
        act = succession.begin
    try:
        patient(api, terminal, wait, act)
    except CommandFailed as failed:
        succession.tell(failed)
        raise
    except KeyboardInterrupt:
        stopped = Interrupted("You stopped it between two steps.")
        succession.tell(stopped)
        raise stopped from None
