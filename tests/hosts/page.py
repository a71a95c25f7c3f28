"""docs/reliability.md, out of rows that are kept beside it: a run replaces those that it brings, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fates import FATES, POLICIES
from matrix import cells

FOLDER = Path(__file__).parents[2] / "docs"
PAGE, ROWS = FOLDER / "reliability.md", FOLDER / "reliability.json"

FLEETS = ("local", "servers")
LEAVE_OUT = ("events", "cell")

HEAD = """\
# What befalls a deployment, and what comes of it

`make reliability` writes this page. GETs arrive at a fixed rate all the time, through our edge; none is repeated by
the client. In brackets are those failed ones that the scenario itself makes: requests inside of what is lost, and the
answers of a version that has turned bad.
"""
OUTCOMES = """
## All policies, whatever becomes of them

Each on three instances of one machine, and on five real Debian servers (see tests/testbed), one instance a batch. What
happens in the middle happens when the new release has started on an instance, and starts on another one. A row holds if
the deployment ends as it should; all instances serve one release then and the environment is Ready; the last event is
Elastic Beanstalk's sentence for that end, and none is told twice; the next deployment, all at once, is taken at once
and succeeds, also while a host is away; and if at the end there are as many instances as before, each with one process
and one boot target, nothing is left of any other, and the health is Ok.

"""
OUTCOMES_LEGEND = """
How the deployment ended and what all serve then, seconds after the call; for a version that turns bad, seconds
from its first bad answer until the old version serves again everywhere. A *host lost* is every process of an instance
killed with SIGKILL, its agent too, on one machine; the power of a server switched off on servers. New instances that
were to be on it cannot come, so that policies that launch return.
"""
FAULTS = """
## Rolling, every fault at every step

On five real servers, one a batch. The fault comes to the server of the second batch while that step is under way there.

"""
FAULTS_LEGEND = """
*ended*: how the operation did, and how many seconds after the fault. *all serve*: what every server that could be
reached served when the operation had ended, of the new release and the one before. *back*: seconds from the end of the
fault until all five serve one release again.

A server that is silent is waited for half a minute before the others go on without it. It is out of rotation then, an
event names it, and it is brought into line when it answers again.
"""

Kept = dict[str, dict[str, Any]]


def write(rows: Iterable[dict[str, Any]]) -> None:
    """Put these rows, as JSON with their `name` and the conditions, in place of those of the same names."""
    kept: Kept = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for row in rows:
        kept[row["name"]] = {key: value for key, value in row.items() if key not in LEAVE_OUT}
    ROWS.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    PAGE.write_text(page(kept))


def page(kept: Kept) -> str:
    names = [f"{fleet}:{policy}:{fate.name}" for fleet in FLEETS for policy in POLICIES for fate in FATES]
    outcomes = [kept[name] for name in names if name in kept]
    faults = [kept[cell.name] for cell in cells() if cell.name in kept]
    text = HEAD + OUTCOMES + _conditions(outcomes, len(names)) + _outcomes(kept) + OUTCOMES_LEGEND
    text += FAULTS + _conditions(faults, len(list(cells()))) + _faults(faults) + FAULTS_LEGEND
    bad = [row for row in (*outcomes, *faults) if row["problems"]]
    problems = "".join(f"- {row['name']}: {'; '.join(row['problems'])}\n" for row in bad)
    return text + (f"\n## What did not hold\n\n{problems}" if bad else "")


def _conditions(rows: list[dict[str, Any]], wanted: int) -> str:
    if not rows:
        return "Nothing was run yet.\n\n"
    days = " to ".join(dict.fromkeys((min(_of(rows, "day")), max(_of(rows, "day")))))
    rates = " or ".join(f"{rate:.0f}" for rate in sorted(set(_of(rows, "rate"))))
    loads = _of(rows, "load")
    sent, failed, inside = (sum(_of(rows, name)) for name in ("sent", "failed", "inside"))
    held = sum(not row["problems"] for row in rows)
    missing = f"; {wanted - len(rows)} others were not run" if len(rows) < wanted else ""
    own = f", {inside:,} of them those of the scenario" if failed else ""
    where = ", ".join(sorted(set(_of(rows, "where"))))
    return (
        f"**Conditions.** {days}. {where}; {rates} requests a second; load average {min(loads):.1f} to "
        f"{max(loads):.1f}.\n\n"
        f"**Result.** {held} of {len(rows)} scenarios hold what is promised{missing}. "
        f"{failed:,} of {sent:,} GETs failed{own}.\n\n"
    )


def _of(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _outcomes(kept: Kept) -> str:
    titles = ("policy", "what happens", "on one machine", "GETs", "failed", "on five servers", "GETs", "failed")
    text = f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    for policy in POLICIES:
        for fate in FATES:
            both = [kept.get(f"{fleet}:{policy}:{fate.name}") for fleet in FLEETS]
            text += f"| {policy} | {fate.words} | {' | '.join(_outcome(row) for row in both)} |\n"
    return text


def _outcome(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run | |"
    mark = " **!**" if row["problems"] else ""
    return f"{row['outcome']}, {row['release']}, {row['seconds']:.0f} s{mark} | {row['sent']:,} | {_failed(row)}"


def _faults(rows: list[dict[str, Any]]) -> str:
    text = "| step | fault | ended | GETs | failed | all serve | back |\n|---|---|---|---|---|---|---|\n"
    for row in rows:
        back = f"{row['back']:.0f} s" if row["back"] is not None else ""
        mark = " **!**" if row["problems"] else ""
        ended = f"{row['outcome']}, {row['seconds']:.0f} s"
        text += f"| {row['step']} | {row['fault']}{mark} | {ended} | {row['sent']:,} | {_failed(row)} "
        text += f"| {row['release']} | {back} |\n"
    return text


def _failed(row: dict[str, Any]) -> str:
    return f"{row['failed']:,} ({row['inside']:,})" if row["failed"] else "0"
