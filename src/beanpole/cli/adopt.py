"""`beanpole adopt`: a service that somebody made by hand becomes an environment, while it serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.errors import CommandFailed, Misused, WrongState
from beanpole.cli.parameters import FOLLOW_LIMIT, HomeOption, JsonOption, TimeoutOption, YesOption
from beanpole.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = 0.5


def adopt(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The server, as `beanpole hosts list` calls it.")],
    unit: Annotated[str, typer.Option("--unit", metavar="UNIT", help="The service, such as shop.service.")],
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Its port; else the host's.")
    ] = None,
    environment: Annotated[str | None, typer.Option("--environment", metavar="ENV", help="Else made of UNIT.")] = None,
    application: Annotated[str | None, typer.Option("--application", metavar="NAME", help="Else made of UNIT.")] = None,
    health_path: Annotated[
        str | None, typer.Option("--health-path", metavar="PATH", help="Answers 200 when all is well; else /.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Though the environment has other code than this host.")
    ] = False,
    timeout: TimeoutOption = FOLLOW_LIMIT,
    yes: YesOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Take over a hand-made service without losing a request.

    The service is stopped at the end, and its unit is left as it is: `beanpole eject --to-unit` is the way back.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    given = {
        "HostName": host, "Unit": unit, "Port": port, "ApplicationName": application, "EnvironmentName": environment,
        "HealthCheckPath": health_path, "Force": force or None,
    }  # fmt: skip
    wanted = {name: value for name, value in given.items() if value is not None}
    proposal = api.beanpole("PlanAdoption", **wanted)["Proposal"]
    for line in plan_lines(proposal, host):
        terminal.say(line)
    if dry_run:
        terminal.result({"outcome": "planned", **as_json(proposal, host)})
        return
    if proposal["Blocked"]:
        raise WrongState(
            "This service cannot be adopted as it is; nothing was changed.", "See above what stands in the way."
        )
    if not yes:
        if not terminal.asks:
            raise Misused("Nobody can be asked here.", "Say --yes.")
        if not terminal.confirm("Adopt it?", default=False):
            raise WrongState("Nothing was changed.")
    api.beanpole("AdoptUnit", **wanted)
    seen = followed(terminal, lambda: api.beanpole("DescribeAdoption", HostName=host), timeout)
    terminal.result({"outcome": "adopted", **as_json(proposal, host), "kept": seen["Kept"], "cut": seen["Cut"]})
    terminal.say(f"{proposal['EnvironmentName']} has port {proposal['Port']} of {host} now, and {unit} has ended.")
    if seen["Cut"]:
        terminal.warn(f"{seen['Cut']} requests took longer than the service was waited for, and were cut.")
    if seen["Kept"]:
        terminal.say(f"{seen['Kept']} connections that were open went on without a break.")
    terminal.say(f"The way back: beanpole eject {proposal['EnvironmentName']} --to-unit")


def followed(terminal: Terminal, ask: Callable[[], dict[str, Any]], timeout: float) -> dict[str, Any]:
    """The last answer, when it is done. Raises CommandFailed with cause and remedy when it failed."""
    limit, words = time.monotonic() + timeout, ""
    while True:
        seen = ask()
        if seen["State"] == "done":
            return seen
        if seen["State"] in ("failed", "none"):
            cause = seen.get("Cause") or "The control plane was started anew meanwhile."
            raise CommandFailed(cause, seen.get("Remedy") or "Ask for it again: it goes on where it was.")
        if seen.get("Words") and seen["Words"] != words:
            words = seen["Words"]
            terminal.say(f"  {words}")
        if time.monotonic() > limit:
            raise CommandFailed(f"It was not done after {timeout:g} s.", "It goes on; the same command follows it.")
        time.sleep(LOOK)


def plan_lines(proposal: dict[str, Any], host: str) -> list[str]:
    """What a person reads before anything is done."""
    found = [
        f"{proposal['Unit']} on {host}, port {proposal['Port']}",
        f"  application   {proposal['ApplicationName']}, version {proposal['VersionLabel']}",
        f"  environment   {proposal['EnvironmentName']}, on {host} alone",
        f"  code          {proposal['Folder']}",
    ]
    if proposal.get("Python"):
        found.append(f"  Python        {proposal['Python']}")
    if proposal.get("Procfile"):
        found.append(f"  Procfile      {proposal['Procfile'].strip()}")
    if proposal.get("Requirements"):
        found.append(f"  requirements  {proposal['Requirements']} packages, as they are installed there now")
    for each in proposal.get("Properties", []):
        found.append(f"  property      {each['Name']}={each['Value']}")
    found.append(f"  left out      {', '.join(proposal.get('LeftOut', []))}")
    found += [f"  left out      {each['Path']} ({each['Size'] >> 20} MB)" for each in proposal.get("Large", [])]
    for each in proposal.get("Doubts", []):
        word = "cannot be" if each["Blocking"] else "mind"
        found.append(f"  {word:<13} {each['Cause']} {each['Remedy']}")
    return found


def as_json(proposal: dict[str, Any], host: str) -> dict[str, Any]:
    return {
        "host": host,
        "unit": proposal["Unit"],
        "application": proposal["ApplicationName"],
        "environment": proposal["EnvironmentName"],
        "version": proposal["VersionLabel"],
        "port": proposal["Port"],
        "procfile": proposal.get("Procfile"),
        "properties": {each["Name"]: each["Value"] for each in proposal.get("Properties", [])},
        "left_out": [*proposal.get("LeftOut", []), *(each["Path"] for each in proposal.get("Large", []))],
        "doubts": [
            {"cause": each["Cause"], "remedy": each["Remedy"], "blocking": each["Blocking"]}
            for each in proposal.get("Doubts", [])
        ],
        "blocked": proposal["Blocked"],
    }
