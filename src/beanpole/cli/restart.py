"""`beanpole restart`: the application is started anew on every instance, without a failed request."""

from __future__ import annotations

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption
from beanpole.cli.terminal import Terminal


def restart(
    environment: EnvironmentArgument = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Start the application anew.

    On every instance the same release is started beside the running one, which then ends.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    answer = api.beanstalk("RestartAppServer", EnvironmentName=name)
    change = Change(
        environment=name,
        request_id=answer["ResponseMetadata"]["RequestId"],
        title=f"Restarting the application of {name}",
        success=f"The application of {name} was started anew",
        noun="restart",
    )
    carry_through(api, terminal, change, timeout)
