"""What goes on with a server, until it is as it should be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.cli.client import Api
    from beanpole.cli.terminal import Terminal

POLL = 0.5
"""Seconds between two looks."""


def followed(
    api: Api,
    terminal: Terminal,
    name: str,
    until: float,
    over: Callable[[dict[str, Any] | None], bool],
) -> None:
    """Look at a server until it is as it should be. Raises CommandFailed when that failed or takes too long.

    `over` is asked of the server, None when there is none of that name. `until` is a time of time.monotonic.
    """
    said = ""
    while True:
        host = next(iter(api.beanpole("DescribeHosts", Names=[name]).get("Hosts", [])), None)
        if over(host):
            return
        if host is None:
            raise CommandFailed(f"{name} was removed meanwhile.", "Add it again.")
        if host.get("Cause"):
            raise CommandFailed(f"{name}: {host['Cause'].rstrip('.')}.", host.get("Remedy", ""))
        if not host.get("UnderWay"):
            raise CommandFailed(
                f"{name}: the control plane was restarted meanwhile.", "Say the same again: it goes on."
            )
        words = host.get("Words", "")
        if words != said and words:
            terminal.say(f"{name}: {words}")
            said = words
        if time.monotonic() > until:
            raise CommandFailed(f"{name} is still {host['State']}.", "It goes on; `beanpole hosts list` shows it.")
        time.sleep(POLL)
