"""`beanpole terminate`: end an environment and everything that runs in it."""

from __future__ import annotations

from pathlib import Path

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.errors import Misused, WrongState
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.terminal import Terminal
from beanpole.cli.workspace import Workspace


def terminate(
    environment: EnvironmentArgument = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """End an environment and its instances.

    The application's versions stay.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal, guess=False).name
    if not yes:
        if not terminal.asks:
            raise Misused(f"Terminating {name} wants consent, and nobody is here to be asked.", "Say --yes.")
        terminal.confirm_by_name(f"This ends {name} and all its instances. Type its name to go on:", name)
    answer = api.beanstalk("TerminateEnvironment", EnvironmentName=name)
    change = Change(
        environment=name,
        request_id=answer["ResponseMetadata"]["RequestId"],
        title=f"Terminating {name}",
        success=f"{name} is terminated",
        noun="termination",
    )
    carry_through(api, terminal, change, timeout)
    try:
        Workspace.nearby(Path.cwd(), terminal.warn).forget(name)
    except WrongState as unwritable:
        terminal.warn(f"Warning: {unwritable.cause}")
