"""`beanpole eb …`: the EB CLI as it is, pointed at this control plane. Every word goes to it untouched."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from beanpole.cli.client import Api
from beanpole.cli.env import in_the_way, variables_for
from beanpole.cli.errors import CommandFailed, Unreachable
from beanpole.cli.workspace import Workspace

RELEASE = "awsebcli==3.27.5"
"""What is fetched where no eb is installed: the one that our tests drive."""

LOOPBACK = "127.0.0.1,localhost"

NEEDS_NOBODY = {"-h", "--help", "--version"}
"""Words with which eb only prints something."""


def eb(words: list[str], home: Path | None) -> NoReturn:
    """Become eb. Raises CommandFailed where there is neither eb nor a way to get it."""
    profile = Workspace.nearby(Path.cwd(), lambda words: print(words, file=sys.stderr)).profile
    if profile is not None:
        # It outranks the variables, and it names keys of another cloud.
        print(
            f"Note: .elasticbeanstalk/config.yml names the profile {profile}, whose keys eb will use. "
            "Set `profile: null` there if the control plane does not accept them.",
            file=sys.stderr,
        )
    environment = environment_for(dict(os.environ), _variables(words, home))
    command = [*program(), *with_our_ssh(words)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(command[0], command, environment)  # noqa: S606 - a list of words, and no shell


def _variables(words: list[str], home: Path | None) -> dict[str, str]:
    try:
        return variables_for(Api.chosen(home).endpoint)
    except Unreachable:
        if NEEDS_NOBODY.isdisjoint(words):
            raise
        return {}


def program() -> list[str]:
    """The eb on PATH, else one that uv fetches and keeps."""
    installed = shutil.which("eb")
    if installed is not None:
        return [installed]
    from uv import find_uv_bin

    try:
        return [find_uv_bin(), "tool", "run", "--from", RELEASE, "eb"]
    except FileNotFoundError as missing:
        raise CommandFailed(
            "The EB CLI is not installed.", f"Install it, for example with `pipx install {RELEASE}`."
        ) from missing


def with_our_ssh(words: list[str]) -> list[str]:
    """`eb ssh` goes as ec2-user with a key of its own choice: unless told otherwise it shall run what knows better."""
    told = any(word.startswith(("-e", "--custom", "--setup", "-h", "--help")) for word in words[1:])
    # eb takes the words apart at each blank.
    if words[:1] != ["ssh"] or told or any(sign.isspace() for sign in sys.executable):
        return words
    return [*words, "--custom", f"{sys.executable} -m beanpole.cli eb-ssh"]


def environment_for(before: dict[str, str], variables: dict[str, str]) -> dict[str, str]:
    """The present environment with our variables, without those that would outrank them."""
    gone = set(in_the_way(before))
    kept = {name: value for name, value in before.items() if name not in gone}
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in kept):
        # A proxy for the Internet cannot reach this machine's own loopback.
        exempt = kept.get("NO_PROXY") or kept.get("no_proxy")
        kept["NO_PROXY"] = kept["no_proxy"] = f"{exempt},{LOOPBACK}" if exempt else LOOPBACK
    return kept | variables
