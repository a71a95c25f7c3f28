"""`beanpole hosts …`: the servers that instances can live on."""

from __future__ import annotations

import datetime as dt
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli import hosts_words
from beanpole.cli.client import Api
from beanpole.cli.errors import CommandFailed, Misused, WrongState
from beanpole.cli.hosts_add import Adding, Choice
from beanpole.cli.hosts_edge import edge
from beanpole.cli.hosts_follow import followed
from beanpole.cli.hosts_source import Source, with_ways
from beanpole.cli.names import nearest
from beanpole.cli.parameters import HomeOption, JsonOption, YesOption
from beanpole.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 900.0
"""Seconds for a server to become ready: it gets some 60 MB."""


class Location(StrEnum):
    LOCAL = "local"
    SSH = "ssh"


TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to follow; what goes on goes on.")
]


def add(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[USER@]HOST[:PORT]", show_default=False, help="One or several.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Else the host's name.")] = None,
    key: Annotated[Path | None, typer.Option("--key", "-i", metavar="FILE", help="The private key.")] = None,
    jump: Annotated[str | None, typer.Option("--jump", "-J", metavar="HOST", help="Go through this host.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="LABEL", help="For environments that ask for it.")
    ] = None,
    app_port: Annotated[
        int | None, typer.Option("--app-port", metavar="PORT", min=1, max=65535, help="For requests; else 8080.")
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option("--ssh-config", metavar="FILE", help="Add hosts of this SSH configuration.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="NAME", help="Of the SSH configuration; else all it names.")
    ] = None,
    inventory: Annotated[
        Path | None, typer.Option("--inventory", metavar="FILE", help="Add the hosts of this inventory.")
    ] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="Only this group of it.")] = None,
    accept_host_key: Annotated[
        list[str] | None,
        typer.Option("--accept-host-key", metavar="FINGERPRINT", help="The host key that you know: SHA256:…"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Take it over from another Beanpole.")] = False,
    timeout: TimeoutOption = LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Add servers.

    All that stands in the way is said at once, and then nothing is changed.
    """
    source = Source(addresses or (), ssh_config, host or (), inventory, group)
    ways = [given for given in (addresses, ssh_config or host, inventory) if given]
    if len(ways) > 1:
        raise Misused("Hosts come from words, from an SSH configuration or from an inventory.", "Use one of them.")
    if group is not None and inventory is None:
        raise Misused("--group is a group of an inventory.", "Name the inventory with --inventory.")
    found = with_ways(source.candidates(), key, jump)
    if name is not None and len(found) > 1:
        raise Misused("--name names one host.", "Add them one by one, or leave it out.")
    choice = Choice(
        name=name,
        labels=tuple(part for each in label or () for part in each.split(",") if part),
        app_port=app_port,
        accepted=tuple(accept_host_key or ()),
        force=force,
        yes=yes,
        limit=timeout,
    )
    Adding(Api.chosen(home), Terminal.here(json=json), choice).run(found)


def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", show_default=False, help="Else all.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Look at servers, and say what stands in the way.

    Nothing is changed there. Exit status 1 when something blocks.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    _refuse_unknown(api, names or [])
    reports = api.beanpole("CheckHosts", Names=names or []).get("Reports", [])
    blocked = [each["Name"] for each in reports if each["Blocked"]]
    terminal.result({"hosts": [hosts_words.report_json(each) for each in reports]})
    if not json:
        for each in reports:
            state = terminal.styled("blocked", "red") if each["Blocked"] else terminal.styled("ok", "green")
            terminal.say(f"{terminal.styled(each['Name'], 'bold')}: {state}")
            for line in hosts_words.report_lines(each):
                terminal.say(f"  {line}")
    if not reports:
        terminal.say("No hosts: `beanpole hosts add` adds one.")
    if blocked:
        raise typer.Exit(CommandFailed.exit_status)


def list_hosts(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the servers, and what lives there."""
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    answer = api.beanpole("DescribeHosts", Reach=True)
    found, location = answer.get("Hosts", []), answer["DefaultLocation"]
    terminal.result({"hosts": [hosts_words.as_json(each) for each in found], "default_location": location})
    if json:
        return
    if found:
        now = dt.datetime.now(dt.UTC)
        terminal.table(hosts_words.HEADS, [hosts_words.row(each, now) for each in found])
        for each in found:
            if each.get("ReachableWords"):
                terminal.warn(f"{each['Name']}: {each['ReachableWords']}")
            if each.get("Cause"):
                terminal.warn(f"{each['Name']}: {each['Cause']}. {each.get('Remedy', '')}")
    else:
        terminal.say("No hosts: `beanpole hosts add` adds one.")
    terminal.say(f"New environments live {_where(location)}.")


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host.")],
    purge: Annotated[bool, typer.Option("--purge", help="End and delete all of ours there.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Though instances live there, or it is unreachable.")] = False,
    timeout: TimeoutOption = LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Let a server go.

    Without --purge its applications stay as they are.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    _refuse_unknown(api, [name])
    if not yes:
        if not terminal.asks:
            raise Misused(f"Removing {name} wants consent, and nobody is here to be asked.", "Say --yes.")
        what = "and deletes all of ours there" if purge else "and leaves its applications as they are"
        terminal.confirm_by_name(f"This removes {name} {what}. Type its name to go on:", name)
    left = api.beanpole("RemoveHost", Name=name, Purge=purge, Force=force).get("Left")
    if left is None:
        followed(api, terminal, name, time.monotonic() + timeout, lambda host: host is None)
    else:
        terminal.warn(f"Warning: {name} could not be reached. {left}")
    terminal.say(f"{name} is removed.")
    terminal.result({"name": name, "outcome": "removed" if left is None else "forgotten", "left": left})


def default(
    location: Annotated[Location, typer.Argument(help="local: this machine; ssh: the servers.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Decide where new environments live. Those that exist stay where they are."""
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    api.beanpole("SetDefaultLocation", Location=location.value)
    terminal.say(f"New environments live {_where(location.value)}.")
    terminal.result({"default_location": location.value})


def hosts_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Servers that instances can live on.",
    )
    for name, command in COMMANDS.items():
        app.command(name)(command)
    return app


COMMANDS: dict[str, Callable[..., None]] = {
    "add": add,
    "check": check,
    "list": list_hosts,
    "remove": remove,
    "default": default,
    "edge": edge,
}


def _refuse_unknown(api: Api, names: list[str]) -> None:
    if not names:
        return
    known = [each["Name"] for each in api.beanpole("DescribeHosts").get("Hosts", [])]
    for name in names:
        if name not in known:
            raise WrongState(f"There is no host {name}.", nearest(name, known) or "`beanpole hosts add` adds one.")


def _where(location: str) -> str:
    return "on these servers" if location == Location.SSH else "on the control plane's machine"
