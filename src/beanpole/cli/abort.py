"""`beanpole abort`: stop the operation that is under way, and see it go back."""

from __future__ import annotations

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.errors import WrongState
from beanpole.cli.operation import operation_of
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption
from beanpole.cli.terminal import Terminal


def abort(
    environment: EnvironmentArgument = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Stop what is under way, and go back.

    Instances that have the new release already go back to the one before.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    request_id, phase = _open_request(api, name)
    if request_id is None:
        raise WrongState(
            f"Nothing is under way in {name} that could be aborted.", f"`beanpole status {name}` shows how it is."
        )
    if phase == "return":
        raise WrongState(f"{name} is going back already.", f"Follow it with `beanpole events -f {name}`.")
    api.beanstalk("AbortEnvironmentUpdate", EnvironmentName=name)
    change = Change(
        environment=name,
        request_id=request_id,
        title=f"Aborting the operation on {name}",
        success=f"The operation was aborted; {name} is as it was before",
        noun="abort",
        wanted="aborted",
    )
    carry_through(api, terminal, change, timeout)


def _open_request(api: Api, name: str) -> tuple[str | None, str]:
    """Request id and phase of the open operation of a user; what the system itself does needs no aborting."""
    answer = api.beanpole("DescribeOperations", EnvironmentName=name, MaxRecords=5)
    for each in answer.get("Operations", []):
        found = operation_of(each)
        if not found.over and each.get("Origin", "user") == "user":
            return str(each["RequestId"]), found.phase
    return None, ""
