"""`beanpole history`: the deployment log. Who changed what, when, how it ended, and what users noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from beanpole.cli.client import Api
from beanpole.cli.environment import find, the_meant
from beanpole.cli.errors import Refused
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.settings import PROPERTIES
from beanpole.cli.terminal import Terminal, columns, printable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

WIDTH = 100
"""Columns of a line of the table. Details are not cut."""

HEADS = ("NO", "WHEN", "WHO", "WHAT", "TOOK", "OUTCOME", "SERVED", "FAILED")
WHAT, LONGEST_WHO = 3, 10

ABSENT = "(none)"
"""What the API says of a value that is not there."""


def history(
    environment: Annotated[
        str | None,
        typer.Argument(metavar="ENV|NO", show_default=False, help="Also one that is terminated; or one entry."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="How many.")] = 20,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Everything that is known of each.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show the deployment log.

    Newest first: who, when, what changed, how it ended, requests served and failed meanwhile.
    """
    api, terminal = Api.chosen(home), Terminal.here(json=json)
    number = _number(api, environment)
    if number is not None:
        entries = api.beanpole("DescribeHistory", Number=number).get("Entries", [])
        facts = {}
    else:
        name = environment if environment is not None else the_meant(api, None, terminal).name
        entries = _entries(api, terminal, name, limit)
        facts = {"environment": name}
    if json:
        terminal.result(facts | {"history": [_as_json(each) for each in entries]})
    elif not entries:
        terminal.say(f"Nothing has happened in {facts['environment']} yet.")
    elif verbose or number is not None:
        for at, each in enumerate(entries):
            for line in ([""] if at else []) + details(each):
                terminal.say(line)
    else:
        for line in table(entries):
            terminal.say(line)


def _number(api: Api, word: str | None) -> int | None:
    """The word as the number of an entry, unless an environment is called so."""
    if word is None or not word.isascii() or not word.isdecimal() or len(word) > 9 or find(api, word) is not None:
        return None
    return int(word)


def _entries(api: Api, terminal: Terminal, name: str, limit: int) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = api.beanpole("DescribeHistory", EnvironmentName=name, MaxRecords=limit).get(
            "Entries", []
        )
    except Refused:
        the_meant(api, name, terminal)  # says which names there are
        raise
    return found


def table(entries: Iterable[dict[str, Any]]) -> list[str]:
    """A line for each entry; below it one for what it changed, and one for why it failed and who was left behind."""
    entries = list(entries)
    rows = [_row(each) for each in entries]
    others = [max(len(row[at]) for row in (HEADS, *rows)) for at in range(len(HEADS)) if at != WHAT]
    room = max(WIDTH - sum(others) - 2 * len(others), 10)
    fitting = [(*row[:WHAT], _cut(row[WHAT], room), *row[WHAT + 1 :]) for row in rows]
    head, *lines = columns(HEADS, fitting)
    found = [head]
    for entry, line in zip(entries, lines, strict=True):
        found.append(_cut(line, WIDTH))
        cause = [entry["Cause"]] if entry.get("Cause") else []
        for below in filter(None, ("; ".join(changes(entry)), "; ".join([*cause, *behind(entry)]))):
            found.append(_cut(f"    {printable(below)}", WIDTH))
    return found


def details(entry: dict[str, Any]) -> list[str]:
    """Everything, a line for each thing."""
    ended = entry.get("FinishedAt")
    lines = [f"{entry['Number']}  {printable(what(entry))} of {entry.get('EnvironmentName', '')}: {outcome(entry)}"]
    lines.append(
        f"  When       {_moment(entry.get('CreatedAt'))}{f' to {_moment(ended)}' if ended else ''}  {took(entry)}"
    )
    lines.append(f"  Who        {printable(who(entry))}, request {entry.get('RequestId', '')}")
    if entry.get("Policy"):
        lines.append(f"  Policy     {entry['Policy']}")
    if entry.get("Release"):
        before = f", before it {entry['PreviousRelease']}" if entry.get("PreviousRelease") else ""
        lines.append(f"  Release    {entry['Release']}{before}")
    counts = entry.get("Requests")
    if counts:
        lines.append(f"  Requests   {counts['Served']:,} served, {counts['Failed']:,} failed meanwhile")
    lines += _several("Changed", changes(entry))
    lines += _several("Behind", behind(entry))
    if entry.get("Cause"):
        lines.append(f"  Cause      {printable(entry['Cause'])}")
        lines += [f"             | {printable(line)}" for line in entry.get("LastLines", [])]
    return lines


def what(entry: dict[str, Any]) -> str:
    """`deploy v1 → v2 (Rolling)`."""
    old, new, kind = entry.get("PreviousVersionLabel"), entry.get("VersionLabel"), entry["Kind"]
    policy = f" ({entry['Policy']})" if entry.get("Policy") not in (None, "Rollback") and kind == "update" else ""
    if kind == "update" and old == new:
        return f"update of {new}{policy}" if new else f"update{policy}"
    words = "deploy" if kind == "update" else str(kind)
    if kind == "terminate" or not new:
        return words
    return f"{words} {old} → {new}{policy}" if old and old != new else f"{words} {new}{policy}"


def who(entry: dict[str, Any]) -> str:
    """What the system did by itself was nobody's wish."""
    return "(system)" if entry.get("Origin") == "system" else str(entry.get("Actor", ""))


def outcome(entry: dict[str, Any]) -> str:
    """`failed, returned`: everything serves what it served before."""
    ended = entry.get("Outcome")
    if not ended:
        return "under way"
    left = len(entry.get("Behind", []))
    if left:
        return f"{ended}, {left} behind"
    returns = ended != "succeeded" and entry["Kind"] not in ("create", "terminate", "align")
    return f"{ended}, returned" if returns else str(ended)


def took(entry: dict[str, Any]) -> str:
    begun, ended = entry.get("CreatedAt"), entry.get("FinishedAt")
    if begun is None or ended is None:
        return ""
    seconds = (ended - begun).total_seconds()
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def changes(entry: dict[str, Any]) -> list[str]:
    """`tensorflow 2.14.0 → 2.15.0`, then settings. Of environment properties the names only."""
    found = [f"{each['What']} {each['From']} → {each['To']}" for each in entry.get("Dependencies", [])]
    return found + [_setting(each) for each in entry.get("Changes", []) if each["What"] != "version"]


def behind(entry: dict[str, Any]) -> list[str]:
    return [f"{each['InstanceId']} left behind ({each['Reason']})" for each in entry.get("Behind", [])]


def _setting(change: dict[str, str]) -> str:
    namespace, _, name = change["What"].rpartition(" ")
    old, new = change["From"], change["To"]
    if namespace == PROPERTIES or old == new:
        happened = "added" if old == ABSENT else "removed" if new == ABSENT else "changed"
        return f"{name} {happened}"
    return f"{name} {old} → {new}"


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    counts = entry.get("Requests") or {}
    return (
        str(entry["Number"]),
        _moment(entry.get("CreatedAt"))[:-3],
        _cut(printable(who(entry)), LONGEST_WHO),
        printable(what(entry)),
        took(entry),
        outcome(entry),
        f"{counts['Served']:,}" if counts else "",
        f"{counts['Failed']:,}" if counts else "",
    )


def _several(head: str, lines: list[str]) -> list[str]:
    return [f"  {head if not at else '':<9}  {printable(line)}" for at, line in enumerate(lines)]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _moment(at: dt.datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at is not None else ""


def _as_json(entry: dict[str, Any]) -> dict[str, Any]:
    begun, ended = entry.get("CreatedAt"), entry.get("FinishedAt")
    counts = entry.get("Requests")
    return {
        "number": entry["Number"],
        "environment": entry.get("EnvironmentName"),
        "kind": entry["Kind"],
        "origin": entry.get("Origin"),
        "who": entry.get("Actor"),
        "request_id": entry.get("RequestId"),
        "outcome": entry.get("Outcome"),
        "policy": entry.get("Policy"),
        "release": entry.get("Release"),
        "previous_release": entry.get("PreviousRelease"),
        "version": entry.get("VersionLabel"),
        "previous_version": entry.get("PreviousVersionLabel"),
        "created_at": begun,
        "finished_at": ended,
        "seconds": (ended - begun).total_seconds() if begun and ended else None,
        "requests": {"served": counts["Served"], "failed": counts["Failed"]} if counts else None,
        "changes": [_plain(each) for each in entry.get("Changes", [])],
        "dependencies": [_plain(each) for each in entry.get("Dependencies", [])],
        "behind": [{"instance": each["InstanceId"], "reason": each["Reason"]} for each in entry.get("Behind", [])],
        "cause": entry.get("Cause"),
    }


def _plain(change: dict[str, str]) -> dict[str, str]:
    return {"what": change["What"], "from": change["From"], "to": change["To"]}
