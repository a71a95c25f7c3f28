"""Which Python platform a new environment gets, from what the control plane offers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from beanpole.cli.errors import WrongState

if TYPE_CHECKING:
    from beanpole.cli.client import Api

_PYTHON = re.compile(r"python[ -](\d+\.\d+)", re.IGNORECASE)


def chosen_stack(api: Api, asked: str | None, remembered: str | None) -> str:
    """The solution stack for a Python version ("3.11"), for a platform's name in config.yml, else the newest."""
    known: list[str] = api.beanstalk("ListAvailableSolutionStacks").get("SolutionStacks", [])
    stacks = {python_of(stack): stack for stack in known}
    offered = sorted(filter(None, stacks), key=lambda version: [int(part) for part in version.split(".")])
    version = asked or python_of(remembered or "")
    if not offered:
        raise WrongState("The control plane has no Python platform.", "Install a Python beside it and restart it.")
    if not version:
        return stacks[offered[-1]]
    if version not in stacks:
        why = "--python" if asked else f"default_platform of config.yml ({remembered})"
        raise WrongState(
            f"The control plane has no Python {version}, which {why} asks for.", f"It has: {', '.join(offered)}."
        )
    return stacks[version]


def python_of(name: str) -> str:
    """The version in a platform's name of any form; '' where there is none."""
    match = _PYTHON.search(name)
    return match[1] if match else ""


def shorthand(stack: str) -> str:
    """What config.yml remembers: the form that every command of the EB CLI understands."""
    return f"Python {python_of(stack)}"
