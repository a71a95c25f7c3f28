"""Every command and its name, in the order in which help shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from beanpole import __version__
from beanpole.cli.abort import abort
from beanpole.cli.adopt import adopt
from beanpole.cli.bluegreen import bluegreen
from beanpole.cli.clone import clone
from beanpole.cli.deploy import deploy
from beanpole.cli.down import down
from beanpole.cli.eject import eject
from beanpole.cli.env import env
from beanpole.cli.events import events
from beanpole.cli.history import history
from beanpole.cli.hosts import hosts_app
from beanpole.cli.listing import list_environments
from beanpole.cli.logs import logs
from beanpole.cli.open import open_environment
from beanpole.cli.parameters import JsonOption
from beanpole.cli.promote import promote
from beanpole.cli.rebuild import rebuild, restore
from beanpole.cli.releases import releases
from beanpole.cli.restart import restart
from beanpole.cli.rollback import rollback
from beanpole.cli.scale import scale
from beanpole.cli.simulate import simulate
from beanpole.cli.ssh import eb_ssh, ssh
from beanpole.cli.status import status
from beanpole.cli.swap import swap
from beanpole.cli.terminal import Terminal
from beanpole.cli.terminate import terminate
from beanpole.cli.up import up

COMMANDS: dict[str, Callable[..., None]] = {
    "up": up,
    "down": down,
    "status": status,
    "deploy": deploy,
    "rollback": rollback,
    "restart": restart,
    "abort": abort,
    "promote": promote,
    "scale": scale,
    "bluegreen": bluegreen,
    "swap": swap,
    "rebuild": rebuild,
    "restore": restore,
    "clone": clone,
    "list": list_environments,
    "releases": releases,
    "history": history,
    "events": events,
    "logs": logs,
    "open": open_environment,
    "terminate": terminate,
    "env": env,
    "ssh": ssh,
    "simulate": simulate,
    "adopt": adopt,
    "eject": eject,
}

RAW = {"ignore_unknown_options": True, "help_option_names": []}
"""For commands whose words belong to somebody else."""

EPILOG = (
    "Exit status: 0 done; 1 the operation failed; 2 wrong usage; 3 wrong state, or not found; "
    "4 control plane not running or not reachable; 130 interrupted."
)


def version(json: JsonOption = False) -> None:
    """Print the version."""
    terminal = Terminal.here(json=json)
    if json:
        terminal.result({"version": __version__})
    else:
        terminal.say(f"beanpole {__version__}")


def eb(words: Annotated[list[str] | None, typer.Argument(metavar="WORDS")] = None) -> None:
    """Run the EB CLI against this control plane."""
    # Only for the list of commands: `main` hands these words over before anything parses them.
    raise NotImplementedError(words)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


def whole(
    version_: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An Elastic Beanstalk that you own."""


def make_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        # Plain help: it starts in a third of the time, and errors are ours to write.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    app.callback()(whole)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    app.add_typer(hosts_app(), name="hosts")
    app.command("eb-ssh", hidden=True, context_settings=RAW)(eb_ssh)
    app.command("eb", context_settings=RAW)(eb)
    app.command("version")(version)
    return app
