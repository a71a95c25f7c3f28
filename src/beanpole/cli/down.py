"""`beanpole down`: stop the control plane; with --all also everything that it keeps running."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.errors import CommandFailed, WrongState
from beanpole.cli.holder import holder_of
from beanpole.cli.leftovers import leftovers
from beanpole.cli.parameters import HomeOption, JsonOption, YesOption
from beanpole.cli.terminal import Terminal

if TYPE_CHECKING:
    from beanpole.home import Home

STOP_LIMIT = 30.0
"""Seconds for the control plane to end once it was asked to: calls in flight have five."""

GONE_LIMIT = 3.0
"""Seconds for processes that were ended to disappear from the system's list."""

POLL = 0.05
"""Seconds between two looks whether it is gone."""


def down(
    everything: Annotated[bool, typer.Option("--all", help="End applications, agents and balancer, too.")] = False,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Stop the control plane.

    Applications keep serving unless --all is given.
    """
    from beanpole.home import Home

    terminal = Terminal.here(json=json)
    chosen = Home.chosen(home)
    question = f"End every application of {chosen.root}? Its data stays, the next `beanpole up` starts them again."
    if everything and terminal.asks and not yes and not terminal.confirm(question, default=False):
        raise WrongState("Nothing was stopped.")
    stopped = stop(chosen)
    if stopped is None:
        terminal.say(f"No control plane runs on {chosen.root}.")
    else:
        terminal.say(f"The control plane (pid {stopped}) has stopped.")
    ended = _end_everything(terminal, chosen) if everything else None
    if stopped is not None and not everything:
        terminal.say("Applications keep serving. `beanpole up` takes over again; `beanpole down --all` ends them.")
    terminal.result({"stopped": stopped, "ended": ended})


def stop(home: Home) -> int | None:
    """The pid of the control plane that was stopped, None when none ran. Raises CommandFailed when it does not end."""
    pid = holder_of(home)
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself just now; the lock will tell
    except PermissionError as refused:
        raise CommandFailed(
            f"The control plane (pid {pid}) belongs to another user.", "Stop it as that user."
        ) from refused
    deadline = time.monotonic() + STOP_LIMIT
    while holder_of(home) == pid:
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"The control plane (pid {pid}) did not stop within {STOP_LIMIT:.0f} s.",
                f"Look at its log {home.log}, or end it with `kill -9 {pid}`: applications keep serving all the same.",
            )
        time.sleep(POLL)
    return pid


def _end_everything(terminal: Terminal, home: Home) -> list[str]:
    from beanpole import server

    terminal.say("Ending applications, agents and balancer…")
    try:
        ended = server.end_everything(home)
    except server.StartFailed as failed:
        raise CommandFailed.of(str(failed)) from failed
    deadline = time.monotonic() + GONE_LIMIT
    while (left := leftovers(home.root)) and time.monotonic() < deadline:
        time.sleep(POLL)
    if left:
        names = ", ".join(f"{each.name} (pid {each.pid})" for each in left)
        pids = " ".join(str(each.pid) for each in left)
        raise CommandFailed(
            f"These processes of {home.root} are still there: {names}.", f"End them with `kill {pids}`."
        )
    terminal.say(f"Ended: {', '.join(ended)}. Nothing is left running." if ended else "Nothing was running.")
    return ended
