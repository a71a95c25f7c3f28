"""More instances than this machine's processors can serve: asked about before they are started.

Instances are processes of the machine that the control plane runs on; a few hundred of them leave it unusable.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from beanpole.cli.client import is_loopback
from beanpole.cli.errors import Misused, WrongState

if TYPE_CHECKING:
    from beanpole.cli.client import Api
    from beanpole.cli.terminal import Terminal

PER_CPU = 4
"""Instances for each processor that are started without a question: enough to try things, and each still answers."""


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crowd(api: Api, wanted: str | None, present: str | None = None, location: str | None = None) -> str:
    """What is to be said of so many instances (as option settings have them) where there are `present` now; else ''.

    Says nothing of servers, nor of a control plane elsewhere: these machines are not known here. `location`: None for
    an environment that will live where the control plane's default is.
    """
    number, now = (int(each) if each is not None and each.isdecimal() else 0 for each in (wanted, present))
    allowed = PER_CPU * cpus()
    if number <= max(allowed, now) or not is_loopback(api.endpoint.url):
        return ""
    location = location or api.beanpole("DescribeHosts")["DefaultLocation"]
    if location != "local":
        return ""
    return (
        f"{number} instances are more than {PER_CPU} for each of the {cpus()} CPUs of this machine: they may leave "
        "nothing to each other and to everything else here"
    )


def agree(terminal: Terminal, said: str, *, ask: bool) -> None:
    """Raises Misused where nobody can be asked, WrongState where somebody says no. `ask=False`: it is agreed to."""
    if not said:
        return
    if not ask:
        terminal.warn(f"Warning: {said}.")
    elif not terminal.asks:
        raise Misused(f"{said}.", "Say --yes to have them all the same, or a smaller number.")
    elif not terminal.confirm(f"{said}. Start them all the same?", default=False):
        raise WrongState("Nothing was changed.")
