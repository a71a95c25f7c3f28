"""`beanpole logs`: the last lines of every log of an environment's instances, and with --follow the next ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.errors import WrongState
from beanpole.cli.follow import patiently
from beanpole.cli.names import nearest
from beanpole.cli.parameters import EnvironmentArgument, HomeOption, JsonOption
from beanpole.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

POLL = 1.0
"""Seconds between two looks for new lines."""

WINDOW = 1000
"""Lines of each log that are looked at for new ones. When more came between two looks, that is said."""


def logs(
    environment: EnvironmentArgument = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    instance: Annotated[str | None, typer.Option("--instance", "-i", metavar="ID", help="Only of this one.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, max=10000, help="Of each log.")] = 100,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show the logs of an environment's instances."""
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    one = {"InstanceId": instance} if instance is not None else {}
    files = _tail(api, name, lines, one)
    if instance is not None and not files:
        _refuse_unknown(api, name, instance)
    if not follow:
        _whole(terminal, name, files)
        return
    tails = Tails()
    for line in tails.new_lines(files):
        _write(terminal, line)
    while True:
        time.sleep(POLL)
        for line in tails.new_lines(patiently(api, terminal.warn, lambda: _tail(api, name, WINDOW, one))):
            _write(terminal, line)


class Tails:
    """Knows what was shown of each log, and finds what came since in the next look at its end."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[str]] = {}

    def new_lines(self, files: Iterable[dict[str, Any]]) -> list[tuple[str, str, str]]:
        """(instance, log, line), log after log. `files` are the API's."""
        found: list[tuple[str, str, str]] = []
        for file in files:
            key = (file["InstanceId"], file["Name"])
            lines = file.get("Text", "").splitlines()
            for line in lines_after(self._known.get(key, []), lines):
                found.append((*key, line))
            self._known[key] = lines[-WINDOW:]
        return found


def lines_after(known: list[str], lines: list[str]) -> list[str]:
    """What of `lines` comes after `known`: behind the longest piece that ends the one and is somewhere in the other."""
    if not known:
        return lines
    for end in range(len(lines), 0, -1):
        length = min(end, len(known))
        if lines[end - length : end] == known[-length:]:
            return lines[end:]
    return ["… (lines in between were not seen)", *lines]


def _tail(api: Api, name: str, lines: int, one: dict[str, str]) -> list[dict[str, Any]]:
    return list(api.beanpole("TailLogs", EnvironmentName=name, Lines=lines, **one).get("Files", []))


def _whole(terminal: Terminal, name: str, files: list[dict[str, Any]]) -> None:
    if terminal.json:
        shaped = [
            {"instance": each["InstanceId"], "name": each["Name"], "lines": each.get("Text", "").splitlines()}
            for each in files
        ]
        terminal.result({"environment": name, "files": shaped})
        return
    for each in files:
        terminal.say(terminal.styled(f"==== {each['InstanceId']}  {each['Name']} ====", "bold"))
        for line in each.get("Text", "").splitlines():
            terminal.say(printable(line))
    if not files:
        terminal.say("No logs yet.")


def _write(terminal: Terminal, line: tuple[str, str, str]) -> None:
    instance, name, text = line
    if terminal.json:
        terminal.record({"instance": instance, "name": name, "line": text})
    else:
        terminal.say(f"{terminal.styled(f'{instance} {name}', 'dim')} | {printable(text)}")


def _refuse_unknown(api: Api, name: str, instance: str) -> None:
    """Raises WrongState when the environment has no such instance; one without logs yet is fine."""
    listed = api.beanstalk("DescribeEnvironmentResources", EnvironmentName=name)
    known = [each["Id"] for each in listed["EnvironmentResources"].get("Instances", [])]
    if instance not in known:
        raise WrongState(f"{name} has no instance {instance}.", nearest(instance, known))
