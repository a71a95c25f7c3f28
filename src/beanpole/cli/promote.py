"""`beanpole promote`: a new version that is evaluated with a part of the requests gets all of them now."""

from __future__ import annotations

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption
from beanpole.cli.terminal import Terminal


def promote(
    environment: EnvironmentArgument = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Skip the rest of an evaluation.

    The new version gets all requests, and the instances with the old one are removed. `beanpole abort` does the
    opposite.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    begun = api.beanpole("PromoteEnvironment", EnvironmentName=name)
    change = Change(
        environment=name,
        request_id=begun["RequestId"],
        title=f"Promoting the new version on {name}",
        success=f"{name} runs the new version",
        noun="promotion",
    )
    carry_through(api, terminal, change, timeout)
