"""`beanpole events`: what happened in an environment, and with -f what happens from now on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import find, the_environment, the_meant
from beanpole.cli.event import Event, Events
from beanpole.cli.follow import patiently
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

POLL = 1.0
"""Seconds between two looks for new events."""


def events(
    environment: Annotated[
        str | None, typer.Argument(metavar="ENV", show_default=False, help="Also one that is terminated.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C, also over a restart.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, max=1000, help="How many past ones.")] = 50,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show an environment's events, oldest first."""
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = environment if environment is not None else the_meant(api, None, terminal).name
    source = Events(api, EnvironmentName=name)
    past = source.latest(lines)
    if not past and find(api, name) is None:
        the_environment(api, name)
    if not follow:
        if json:
            terminal.result({"environment": name, "events": [each.as_json() for each in past]})
        else:
            _write(terminal, past)
        return
    _write(terminal, past)
    while True:
        _write(terminal, patiently(api, terminal.warn, source.latest))
        time.sleep(POLL)


def _write(terminal: Terminal, several: Sequence[Event]) -> None:
    for event in several:
        if terminal.json:
            terminal.record(event.as_json())
        else:
            when = f"{event.at.astimezone():%Y-%m-%d %H:%M:%S}"
            terminal.say(f"{when}  {terminal.coloured(f'{event.severity:<5}')}  {printable(event.message)}")
