"""`beanpole scale`: another number of instances."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.client import Api
from beanpole.cli.crowd import agree, crowd
from beanpole.cli.environment import the_meant
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.settings import least_of, location_of, wanted
from beanpole.cli.terminal import Terminal
from beanpole.cli.waiting import WaitOption, patient

if TYPE_CHECKING:
    from beanpole.cli.environment import Environment


def scale(
    number: Annotated[int, typer.Argument(metavar="N", min=1, max=1000, help="How many instances there shall be.")],
    environment: EnvironmentArgument = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Change the number of instances.

    Those that leave finish their requests first.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    meant = the_meant(api, environment, terminal)
    scaling = partial(_scale, api, terminal, meant, number, ask=not yes, limit=timeout)
    patient(api, terminal, wait, scaling, meant.name)


def _scale(api: Api, terminal: Terminal, meant: Environment, number: int, *, ask: bool, limit: float) -> None:
    answer = api.beanstalk(
        "DescribeConfigurationSettings", ApplicationName=meant.application, EnvironmentName=meant.name
    )
    settings = answer["ConfigurationSettings"][0]["OptionSettings"]
    put, _ = wanted(instances=number).changes(settings)
    count = f"{number} instance{'s' if number > 1 else ''}"
    facts = {"instances_wanted": number}
    if not put:
        terminal.say(f"{meant.name} has {count} already: nothing was touched.")
        terminal.result({"environment": meant.name, "outcome": "unchanged"} | facts)
        return
    agree(terminal, crowd(api, str(number), least_of(settings), location_of(settings)), ask=ask)
    answer = api.beanstalk("UpdateEnvironment", EnvironmentName=meant.name, OptionSettings=put)
    change = Change(
        environment=meant.name,
        request_id=answer["ResponseMetadata"]["RequestId"],
        title=f"Scaling {meant.name} to {count}",
        success=f"{meant.name} has {count} now",
        noun="scaling",
        facts=facts,
        counts_instances=True,
    )
    carry_through(api, terminal, change, limit)
