"""`beanpole releases`: what an environment ran, and what one can go back to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import the_meant
from beanpole.cli.parameters import EnvironmentArgument, HomeOption, JsonOption
from beanpole.cli.terminal import Terminal

HEADS = ("  RELEASE", "VERSION", "MADE", "PASSED", "CONTENT")


def releases(
    environment: EnvironmentArgument = None,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, max=1000, help="How many.")] = 20,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List an environment's releases.

    Newest first; the running one has a star.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    name = the_meant(api, environment, terminal).name
    found = api.beanpole("DescribeReleases", EnvironmentName=name, MaxRecords=lines).get("Releases", [])
    if json:
        terminal.result({"environment": name, "releases": [_as_json(each) for each in found]})
    elif found:
        terminal.table(HEADS, [_row(each) for each in found])
    else:
        terminal.say(f"{name} has no release yet.")


def _row(release: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{'*' if release.get('Current') else ' '} {release['Number']}",
        release.get("VersionLabel", ""),
        _moment(release.get("CreatedAt")),
        _moment(release.get("PassedAt")) or "never",
        release.get("Digest", "")[:8],
    )


def _as_json(release: dict[str, Any]) -> dict[str, Any]:
    return {
        "release": release["Number"],
        "version": release.get("VersionLabel"),
        "digest": release.get("Digest"),
        "created_at": release.get("CreatedAt"),
        "passed_at": release.get("PassedAt"),
        "current": release.get("Current", False),
    }


def _moment(at: Any) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at is not None else ""
