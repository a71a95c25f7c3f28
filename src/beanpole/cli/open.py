"""`beanpole open`: where an environment is reached."""

from __future__ import annotations

import os
import sys
import webbrowser

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.errors import WrongState
from beanpole.cli.parameters import EnvironmentArgument, HomeOption, JsonOption
from beanpole.cli.terminal import Terminal


def open_environment(
    environment: EnvironmentArgument = None, home: HomeOption = None, json: JsonOption = False
) -> None:
    """Print an environment's URL.

    Where there is a display, open it in a browser, too.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    meant = the_meant(api, environment, terminal)
    if meant.url is None:
        raise WrongState(f"{meant.name} has no URL: it is {meant.status}.", f"See `beanpole status {meant.name}`.")
    if json:
        terminal.result({"environment": meant.name, "url": meant.url})
        return
    terminal.say(meant.url)
    if terminal.live and _has_display():
        webbrowser.open(meant.url)


def _has_display() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
