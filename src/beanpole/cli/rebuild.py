"""`beanpole rebuild`, `beanpole restore`: instances made anew, of an environment that runs or of one that is gone."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.errors import WrongState
from beanpole.cli.names import nearest
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.terminal import Terminal
from beanpole.cli.waiting import WaitOption, patient

if TYPE_CHECKING:
    from collections.abc import Sequence

DAYS = 42
"""For which a terminated environment can be had back."""


def rebuild(
    environment: EnvironmentArgument = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Replace all instances by new ones.

    Version and settings stay. New ones serve before the old ones leave, where there is room for both.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    question = f"Replace all instances of {name}? What only lies on them is gone then."
    if terminal.asks and not yes and not terminal.confirm(question, default=False):
        raise WrongState("Nothing was rebuilt.")

    def act() -> None:
        answer = api.beanstalk("RebuildEnvironment", EnvironmentName=name)
        request = answer["ResponseMetadata"]["RequestId"]
        change = Change(name, request, f"Rebuilding {name}", f"{name} has new instances", "rebuilding")
        carry_through(api, terminal, change, timeout)

    patient(api, terminal, wait, act, name)


def restore(
    environment: Annotated[
        str | None, typer.Argument(metavar="ENV", show_default=False, help="Its name or its id; else those are listed.")
    ] = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Bring a terminated environment back.

    With its id, its name, its settings and the version that it ran.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    known = _terminated(api)
    if environment is None:
        _list(terminal, known)
        return
    wanted = next((each for each in known if environment in (each["EnvironmentId"], each["EnvironmentName"])), None)
    if wanted is None:
        near = nearest(environment, (each["EnvironmentName"] for each in known))
        raise WrongState(f"No environment {environment} was terminated within {DAYS} days.", near)
    name, id_ = wanted["EnvironmentName"], wanted["EnvironmentId"]
    answer = api.beanstalk("RebuildEnvironment", EnvironmentId=id_)
    request = answer["ResponseMetadata"]["RequestId"]
    change = Change(name, request, f"Restoring {name} ({id_})", f"{name} is back", "restoring", {"id": id_})
    carry_through(api, terminal, change, timeout)


def _terminated(api: Api) -> list[dict[str, Any]]:
    """The one that ended last comes first."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=DAYS)
    found = api.pages("DescribeEnvironments", "Environments", IncludeDeleted=True, IncludedDeletedBackTo=since)
    gone = [each for each in found if each["Status"] == "Terminated"]
    return sorted(gone, key=lambda each: each["DateUpdated"], reverse=True)


def _list(terminal: Terminal, known: Sequence[dict[str, Any]]) -> None:
    heads = ("ENVIRONMENT", "ID", "VERSION", "TERMINATED")
    rows = [
        (each["EnvironmentName"], each["EnvironmentId"], each.get("VersionLabel") or "", f"{each['DateUpdated']:%F %R}")
        for each in known
    ]
    if rows:
        terminal.table(heads, rows)
    else:
        terminal.say(f"No environment was terminated within {DAYS} days.")
    names = ("environment", "id", "version")
    terminal.result(
        [
            dict(zip(names, row, strict=False)) | {"terminated_at": each["DateUpdated"]}
            for row, each in zip(rows, known, strict=True)
        ]
    )
