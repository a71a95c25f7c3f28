"""Runs the scenarios of fates.py and matrix.py and writes docs/reliability.md: `make reliability`.

All of them, or those that are named; their rows replace those of the page. Each bed of servers, and each site of this
machine, has a process of its own, which ends with an exit status of 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import datetime
import faulthandler
import fnmatch
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import page
from fates import FATES, POLICIES
from grounds import GROUNDS, SERVERS, ground_of
from matrix import FAULTS, STEPS, cells
from plot import HOSTS

STARVED = 2.0
"""Seconds by which a load is late on a machine that has too much else to do. What is seen then says nothing."""

REPEATS = 2
"""Further attempts at a scenario for that reason."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    words = "STEP-FAULT as gate-kill, or FLEET:POLICY:OUTCOME as local:Rolling:abort; * and ? stand for more"
    parser.add_argument("names", nargs="*", help=f"{words} (default: all)")
    parser.add_argument("--beds", type=int, default=2, help=f"of {SERVERS} servers, at once (default: 2)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second on each fleet (default: 200)")
    parser.add_argument("--minutes", type=float, default=360.0, help="after which no further one is begun")
    parser.add_argument("--rows", type=Path, help="file for the rows as JSON, one a line, instead of the page")
    given = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)  # where it is, when it takes long
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is ended
    wanted = [name for name in _mixed() if not given.names or any(fnmatch.fnmatch(name, each) for each in given.names)]
    if not wanted:
        parser.error(f"no scenario is called {' or '.join(given.names)}")
    if given.rows is not None:
        return _run(wanted, given.rate, given.rows, given.minutes)
    if any(ground_of(name) != "local" for name in wanted) and subprocess.run([HOSTS, "check"], check=False).returncode:
        sys.exit("reliability: there can be no servers here, for the reasons above. `local:*` needs none.")
    rows: list[dict[str, Any]] = []
    for ground in GROUNDS:
        mine = [name for name in wanted if ground_of(name) == ground]
        brought = _shared_out(mine, given, 1 if ground == "local" else given.beds)
        page.write(brought)
        rows += brought
    return 1 if len(rows) < len(wanted) or any(row["problems"] for row in rows) else 0


def _mixed() -> list[str]:
    """All, so that each policy and each outcome, each fault and each step come early."""
    steps, faults, fates = list(STEPS), list(FAULTS), list(FATES)
    of_faults = sorted(cells(), key=lambda cell: (faults.index(cell.fault) - steps.index(cell.step)) % len(faults))
    turns = sorted(
        ((at, each) for at in range(len(POLICIES)) for each in range(len(fates))),
        key=lambda turn: (turn[1] - turn[0]) % len(fates),
    )
    outcomes = [f"{fleet}:{POLICIES[at]}:{fates[each].name}" for fleet in page.FLEETS for at, each in turns]
    return [*outcomes, *(cell.name for cell in of_faults)]


def _run(wanted: list[str], rate: float, rows: Path, minutes: float) -> int:
    """All of them, of one ground, one after the other. What is left in disorder is made anew."""
    left = list(wanted)
    repeats: Counter[str] = Counter()
    limit = time.monotonic() + minutes * 60
    good = True
    with GROUNDS[ground_of(wanted[0])](rate) as ground:
        while left:
            with ground.fresh() as trial:
                while left:
                    if time.monotonic() > limit:
                        return 1
                    name = left.pop(0)
                    load = os.getloadavg()[0]
                    try:
                        row = trial.carry_out(name)
                    except Exception:
                        # It could not be carried out, which says nothing of what it would have shown.
                        traceback.print_exc()
                        print(trial.site.log(), flush=True)
                        good = False
                        if ground.mended(trial):
                            continue
                        break
                    starved = getattr(row, "late", 0.0)
                    if row.problems and starved > STARVED and repeats[name] < REPEATS:
                        repeats[name] += 1
                        print(f"{name}: the load was late by {starved:.0f} s: once more.", *row.problems, flush=True)
                        left.append(name)
                        if ground.mended(trial):
                            continue
                        break
                    good = good and not row.problems
                    with rows.open("a") as file:
                        file.write(json.dumps({**vars(row), **_conditions(rate, load), "name": name}) + "\n")
                    told = (row.outcome, row.release, f"{row.seconds} s", f"{row.failed} of {row.sent} failed")
                    print(name, *told, f"{row.inside} inside", "**!**" if row.problems else "", flush=True)
                    if row.problems:
                        print("\n".join(["", *row.problems, *row.events, trial.site.log(), ""]), flush=True)
                        if not ground.mended(trial):
                            break
    return 0 if good else 1


def _conditions(rate: float, load: float) -> dict[str, Any]:
    where = f"{os.cpu_count()} {platform.machine()} cores, {platform.system()}, Python {platform.python_version()}"
    return {"day": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"), "where": where, "rate": rate, "load": load}


def _shared_out(wanted: list[str], given: argparse.Namespace, at_once: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(min(at_once, len(wanted)))]
        words = [sys.executable, __file__, "--rate", str(given.rate), "--minutes", str(given.minutes)]
        running = [
            subprocess.Popen([*words, "--rows", str(file), *wanted[number :: len(files)]])
            for number, file in enumerate(files)
        ]
        for process in running:
            process.wait()
        return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
