"""`beanpole ssh`: a shell or a command where an instance lives, with the key and the host key that Beanpole has.

On a server by the system's `ssh`; for an instance of this machine in its folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from beanpole.cli.client import Api, is_loopback
from beanpole.cli.environment import Environment, every_environment, the_environment, the_meant
from beanpole.cli.errors import CommandFailed, Misused, WrongState
from beanpole.cli.names import nearest
from beanpole.cli.parameters import HomeOption
from beanpole.cli.ssh_words import as_application, known_hosts, words_for
from beanpole.cli.terminal import Terminal

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a command."""


@dataclass(frozen=True)
class Place:
    """`host`: the API's, None for this machine. `instance`: None where the server itself is meant."""

    host: dict[str, Any] | None
    instance: str | None


def ssh(
    where: Annotated[
        str | None, typer.Argument(metavar="INSTANCE|HOST", show_default=False, help="Else the environment's only one.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", metavar="NAME", help="Else this folder's default.")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", "-c", metavar="COMMAND", help="Run this and end, with its exit status.")
    ] = None,
    app_env: Annotated[
        bool, typer.Option("--app-env", help="As the application: its user, folder, variables and layer.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Open a shell where an instance lives."""
    api, terminal = Api.chosen(home), Terminal.here()
    place = _place(api, terminal, where, environment)
    host, instance = place.host, place.instance
    if host is None:
        _exit_like(_here(api, instance or "", command, app_env))
    if app_env and instance is None:
        known = [each["InstanceId"] for each in host.get("Instances", [])]
        if len(known) != 1:
            raise Misused(
                "--app-env is for an instance, and a host was named.", f"There: {', '.join(known) or 'none'}."
            )
        instance = known[0]
    line = as_application(host, instance or "", command) if app_env else command
    wants = sys.stdin.isatty() and (command is None or sys.stdout.isatty())
    _exit_like(_on_server(host, line, terminal=wants))


def eb_ssh(words: Annotated[list[str] | None, typer.Argument(metavar="USER@HOST WORDS")] = None) -> None:
    """What `eb ssh -e 'beanpole eb-ssh'` runs: it says ec2-user and an address, and we know better."""
    if not words:
        raise Misused("eb-ssh is called by the EB CLI.", "As in `eb ssh -e 'beanpole eb-ssh'`.")
    address, api = words[0].rpartition("@")[2], Api.chosen(None)
    command = " ".join(words[1:]) or None
    hosts = api.beanpole("DescribeHosts").get("Hosts", [])
    host = next((each for each in hosts if each["Address"]["Host"] == address), None)
    if host is None:
        instance = _instance_at(api, address)
        if instance is None:
            raise WrongState(
                f"No host of this Beanpole has the address {address}.", "`beanpole hosts list` shows them."
            )
        _exit_like(_here(api, instance, command, app_env=False))
    _exit_like(_on_server(host, command, terminal=sys.stdin.isatty()))


def _place(api: Api, terminal: Terminal, where: str | None, environment: str | None) -> Place:
    hosts = api.beanpole("DescribeHosts").get("Hosts", [])
    on = {each["InstanceId"]: host for host in hosts for each in host.get("Instances", [])}
    if where is not None and environment is None:
        if where in on:
            return Place(on[where], where)
        named = next((host for host in hosts if where == host["Name"]), None)
        if named is not None:
            return Place(named, None)
        local = _instances(api, every_environment(api))
        if where in local:
            return Place(None, where)
        known = nearest(where, [*(host["Name"] for host in hosts), *on, *local])
        raise WrongState(f"There is no instance and no host {where}.", known or "`beanpole list` shows what there is.")
    meant = the_environment(api, environment) if environment is not None else the_meant(api, None, terminal)
    own = _instances(api, [meant])
    chosen = [each for each in own if where in (None, each, on.get(each, {}).get("Name"))]
    if len(chosen) == 1:
        return Place(on.get(chosen[0]), chosen[0])
    have = ", ".join(f"{each} ({on[each]['Name']})" if each in on else each for each in own)
    if where is not None:
        raise WrongState(f"{meant.name} has no instance {where}.", f"It has: {have or 'none'}.")
    if not own:
        raise WrongState(f"{meant.name} has no instances.", f"`beanpole status {meant.name}` shows how it is.")
    raise Misused(f"{meant.name} has {len(own)} instances.", f"Name one: {have}.")


def _instances(api: Api, environments: list[Environment]) -> list[str]:
    found = []
    for each in environments:
        listed = api.beanstalk("DescribeEnvironmentResources", EnvironmentName=each.name)
        found += [instance["Id"] for instance in listed["EnvironmentResources"].get("Instances", [])]
    return found


def _instance_at(api: Api, address: str) -> str | None:
    """The instance of the control plane's machine that has this loopback address."""
    for reservation in api.ec2("DescribeInstances").get("Reservations", []):
        for instance in reservation.get("Instances", []):
            if instance.get("PrivateIpAddress") == address:
                return str(instance["InstanceId"])
    return None


def _on_server(host: dict[str, Any], line: str | None, *, terminal: bool) -> int:
    if shutil.which("ssh") is None:
        raise CommandFailed("There is no ssh on this machine.", "Install openssh-client.")
    with tempfile.TemporaryDirectory(prefix="beanpole-ssh-") as folder:
        known = Path(folder) / "known_hosts"
        known.write_text(known_hosts(host))
        return _run(words_for(host, known, [] if line is None else [line], terminal=terminal), None, None)


def _here(api: Api, instance: str, command: str | None, app_env: bool) -> int:
    """In the folder of an instance of this machine."""
    if api.home is None and not is_loopback(api.endpoint.url):
        raise WrongState(f"{instance} lives on the machine of its control plane.", "Use this command there.")
    home = api.home.root if api.home is not None else Path(api.beanpole("DescribeControlPlane")["Home"])
    folder = home / "instances" / instance
    current = folder / "current"
    if not current.exists():
        raise WrongState(f"{instance} has no release that is in use.", f"Its folder is {folder}.")
    variables = dict(os.environ)
    if app_env:
        variables = _variables(folder)
    shell = os.environ.get("SHELL") or "/bin/sh"
    words = [shell, *(["-c", command] if command is not None else [])]
    return _run(words, current.resolve() / "app", variables)


def _variables(folder: Path) -> dict[str, str]:
    """What the agent gives to the processes of the release that is in use."""
    import json

    from beanpole.agent import environment

    release = json.loads((folder / "current/release.json").read_text())
    own = dict(os.environ) | {"HOME": str(folder / "home")}
    kept = {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}
    return kept | environment.variables(own, release.get("environment") or {}, release.get("layer"), None)


def _run(words: list[str], folder: Path | None, variables: dict[str, str] | None) -> int:
    """Its exit status. Ctrl-C is for what runs, not for us."""
    sys.stdout.flush()
    # A handler of ours does not reach what is started; to ignore the signal would.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.Popen(words, cwd=folder, env=variables).wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else SIGNALLED - status


def _exit_like(status: int) -> NoReturn:
    raise typer.Exit(status)
