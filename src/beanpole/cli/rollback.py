"""`beanpole rollback`: back to the last release that passed and differs, or to one that is named."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from beanpole.cli import plan
from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.errors import WrongState
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.parameters import FOLLOW_LIMIT, EnvironmentArgument, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.terminal import Terminal, columns
from beanpole.cli.waiting import WaitOption, patient


def rollback(
    environment: EnvironmentArgument = None,
    to: Annotated[
        int | None, typer.Option("--to", metavar="RELEASE", min=1, help="A number from `beanpole releases`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the differences and change nothing.")] = False,
    wait: WaitOption = None,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Go back to the release before.

    Shows what differs first, and asks on a terminal.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    act = partial(_rollback, api, terminal, name, to, dry_run=dry_run, ask=not yes, limit=timeout)
    patient(api, terminal, wait, act, name)


def _rollback(
    api: Api, terminal: Terminal, name: str, to: int | None, *, dry_run: bool, ask: bool, limit: float
) -> None:
    number = {"ReleaseNumber": to} if to is not None else {}
    proposed = api.beanpole("RollbackEnvironment", EnvironmentName=name, DryRun=True, **number)
    release, label = proposed["Release"], proposed["VersionLabel"]
    facts = {"version": label, "back_to": release, "differences": _differences(proposed)}
    terminal.say(f"Back to release {release} of {name}: version {label}.")
    for line in difference_lines(proposed.get("Differences", [])):
        terminal.say(line)
    if dry_run:
        plan.show(terminal, proposed.get("Plan", {}))
        rehearsed = {"environment": name, "outcome": "rehearsed", "plan": plan.as_json(proposed.get("Plan", {}))}
        terminal.result(rehearsed | facts)
        return
    if terminal.asks and ask and not terminal.confirm("Roll back?", default=True):
        raise WrongState("Nothing was rolled back.")
    # By number: what was shown is what happens, even if a release passed in the meantime.
    answer = api.beanpole("RollbackEnvironment", EnvironmentName=name, ReleaseNumber=release)
    change = Change(
        environment=name,
        request_id=answer["ResponseMetadata"]["RequestId"],
        title=f"Rolling back {name} to {label}",
        success=f"{name} is back on {label}",
        noun="rollback",
        facts=facts,
    )
    carry_through(api, terminal, change, limit)


def difference_lines(differences: list[dict[str, Any]]) -> list[str]:
    """What changes, from what, to what; nothing when only the release number does."""
    if not differences:
        return []
    rows = [("  " + each["What"], each.get("From", ""), each.get("To", "")) for each in differences]
    return columns(("  CHANGES", "FROM", "TO"), rows)


def _differences(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"what": each["What"], "from": each.get("From"), "to": each.get("To")} for each in answer.get("Differences", [])
    ]
