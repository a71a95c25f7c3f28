"""`beanpole env`: what makes eb, aws and every SDK talk to this control plane. Nothing else prints a secret."""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.errors import Unreachable
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beanpole.cli.client import Endpoint


class Shell(StrEnum):
    BASH = "bash"
    FISH = "fish"


IN_THE_WAY = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_EB_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
"""Variables that would bring other keys or another endpoint."""


def env(
    shell: Annotated[
        Shell, typer.Option("--shell", help="Whose syntax; that of bash is also for sh and zsh.")
    ] = Shell.BASH,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Print variables for eb, aws and boto3.

    As in: eval "$(beanpole env)"
    """
    terminal = Terminal.here(json=json)
    variables = variables_for(Api.chosen(home).endpoint)
    if json:
        terminal.result(variables)
        return
    for name in in_the_way(os.environ):
        terminal.say(f"unset {name};" if shell is Shell.BASH else f"set -e {name};")
    for name, value in variables.items():
        form = f"export {name}={shlex.quote(value)};" if shell is Shell.BASH else f"set -gx {name} {_fish(value)};"
        terminal.say(form)


def variables_for(endpoint: Endpoint) -> dict[str, str]:
    """Raises Unreachable where the keys come from a profile and are not ours to print."""
    access_key = endpoint.access_key or os.environ.get("AWS_ACCESS_KEY_ID")
    secret = endpoint.secret or os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret:
        raise Unreachable(
            "AWS_ENDPOINT_URL is set, and the keys are in no variables.",
            "Unset AWS_ENDPOINT_URL for the local control plane, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    return {
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": endpoint.region,
        "AWS_REGION": endpoint.region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def in_the_way(environment: Mapping[str, str]) -> list[str]:
    """Those that are set, endpoints of single services among them."""
    endpoints = [name for name in environment if name.startswith("AWS_ENDPOINT_URL_")]
    return [*(name for name in IN_THE_WAY if name in environment), *sorted(endpoints)]


def _fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
