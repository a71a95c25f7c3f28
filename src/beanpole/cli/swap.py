"""`beanpole swap`: exchange the names of two environments, and again to swap back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import the_environment
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import HomeOption, JsonOption, TimeoutOption
from beanpole.cli.terminal import Terminal
from beanpole.cli.waiting import WaitOption, patient

if TYPE_CHECKING:
    from beanpole.cli.environment import Environment

SWAP_LIMIT = 150.0
"""Seconds that a swap is followed by default: its deadline, and the way back."""


def swap(
    environment: Annotated[str, typer.Argument(metavar="ENV")],
    other: Annotated[str, typer.Argument(metavar="OTHER")],
    wait: WaitOption = None,
    timeout: TimeoutOption = SWAP_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Exchange the names of two environments.

    No instance is touched and no request is lost. The same once more swaps back.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    names = (the_environment(api, environment).name, the_environment(api, other).name)
    patient(api, terminal, wait, lambda: _swap(api, terminal, *names, timeout), *names)


def _swap(api: Api, terminal: Terminal, name: str, other: str, limit: float) -> None:
    one, two = the_environment(api, name), the_environment(api, other)
    carry_through(api, terminal, begun(api, one, two), limit)


def begun(api: Api, one: Environment, other: Environment) -> Change:
    """The swap, begun. Raises what the API's refusals become."""
    answer = api.beanstalk(
        "SwapEnvironmentCNAMEs", SourceEnvironmentName=one.name, DestinationEnvironmentName=other.name
    )
    return Change(
        environment=one.name,
        request_id=answer["ResponseMetadata"]["RequestId"],
        title=f"Swapping the names of {one.name} and {other.name}",
        success=f"{one.url} leads to {other.name} now, and {other.url} to {one.name}",
        noun="swap",
        facts={"other": other.name, "urls": {one.name: other.url, other.name: one.url}},
        counts_instances=True,
    )
