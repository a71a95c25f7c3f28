"""Runs the scenarios of matrix.py on real servers and writes docs/reliability.md: `make reliability`.

All of them, on `--beds` beds at once; or those that are named, whose rows are printed and nothing is written. Each bed
has a process of its own, which ends with an exit status of 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import datetime
import faulthandler
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bed import Bed
from matrix import FAULTS, STEPS, Cell, Row, cells, named
from plot import Plot
from servers_site import ServersSite
from traces import remove_traces
from trial import Trial

TABLE = Path(__file__).parents[2] / "docs" / "reliability.md"
SERVERS = 5

HEAD = """\
# What befalls servers, and what comes of it

`make reliability` writes this page: every fault at every step of a deployment, on five real Debian servers (see
tests/testbed) behind our edge, one server a batch. The fault comes to the server of the second batch while that step is
under way there. GETs arrive at a fixed rate all the time; none is repeated by the client.

"""
LEGEND = """
*ended*: how the operation did, and how many seconds after the fault. *failed*: GETs without a good answer; in brackets
those among them that had been sent before the fault was complete. *all serve*: what every server that could be reached
served when the operation had ended, of the new release and the one before. *back*: seconds from the end of the fault
until all five serve one release again.

A server that is silent is waited for half a minute before the others go on without it. It is out of rotation then, an
event names it, and it is brought into line when it answers again.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", help="STEP-FAULT, such as gate-kill (default: all, into the table)")
    parser.add_argument("--beds", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second on each (default: 100)")
    parser.add_argument("--minutes", type=float, default=240.0, help="after which no further one is begun")
    parser.add_argument("--rows", type=Path, help="file for the rows as JSON, one a line, instead of the table")
    given = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)  # where it is, when it takes long
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is ended
    if given.rows is not None:
        return _run([named(name) for name in given.cells], given.rate, given.rows, given.minutes)
    load = os.getloadavg()[0]
    wanted = given.cells or [cell.name for cell in _mixed()]
    rows = _shared_out(wanted, given)
    if not given.cells:
        TABLE.write_text(_page(rows, given.beds, given.rate, load))
    return 1 if len(rows) < len(wanted) or any(row.problems for row in rows) else 0


def _mixed() -> list[Cell]:
    """All, so that each fault and each step come early."""
    steps, faults = list(STEPS), list(FAULTS)
    return sorted(cells(), key=lambda cell: (faults.index(cell.fault) - steps.index(cell.step)) % len(faults))


def _run(wanted: list[Cell], rate: float, rows: Path, minutes: float) -> int:
    """All of them, one after the other. A control plane or servers that are left in disorder are made anew."""
    left = list(wanted)
    limit = time.monotonic() + minutes * 60
    good = True
    with Plot() as plot:
        bed = Bed(plot)
        while left:
            servers = bed.up(SERVERS)
            remove_traces(bed, servers)
            site = ServersSite()
            try:
                site.start()
                trial = Trial(bed, site, servers, rate)
                trial.begin()
                while left:
                    if time.monotonic() > limit:
                        return 1
                    cell = left.pop(0)
                    try:
                        row = trial.run(cell)
                    except Exception:
                        # It could not be carried out, which says nothing of what it would have shown.
                        traceback.print_exc()
                        print(site.log(), flush=True)
                        good = False
                        if _mended(trial):
                            continue
                        break
                    good = good and not row.problems
                    with rows.open("a") as file:
                        file.write(json.dumps(row.json()) + "\n")
                    print(_line(row), flush=True)
                    if row.problems:
                        print("\n".join(["", *row.problems, *row.events, site.log(), ""]), flush=True)
                        if not _mended(trial):
                            break
            finally:
                site.end()
    return 0 if good else 1


def _mended(trial: Trial) -> bool:
    """Whether all servers are in line once no fault is left."""
    trial.bed.up(SERVERS)
    try:
        trial.in_line()
    except AssertionError:
        return False
    return True


def _shared_out(wanted: list[str], given: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(min(given.beds, len(wanted)))]
        shares = [wanted[number :: len(files)] for number in range(len(files))]
        words = [sys.executable, __file__, "--rate", str(given.rate), "--minutes", str(given.minutes)]
        running = [
            subprocess.Popen([*words, "--rows", str(file), *share]) for file, share in zip(files, shares, strict=True)
        ]
        for process in running:
            process.wait()
        found = [Row(**json.loads(line)) for file in files if file.exists() for line in file.read_text().splitlines()]
    order = [cell.name for cell in cells()]
    return sorted(found, key=lambda row: order.index(row.cell))


def _page(rows: list[Row], beds: int, rate: float, load: float) -> str:
    today = datetime.datetime.now(datetime.UTC).strftime("%-d %B %Y")
    bad = [row for row in rows if row.problems]
    sent, failed, inside = (sum(getattr(row, name) for row in rows) for name in ("sent", "failed", "inside"))
    conditions = (
        f"**Conditions.** {today}. {os.cpu_count()} {platform.machine()} cores, {platform.system()}, Python "
        f"{platform.python_version()}; {beds} beds of {SERVERS} servers at once, {rate:.0f} requests a second on each. "
        f"Load average {load:.1f} at the begin, {os.getloadavg()[0]:.1f} at the end.\n\n"
    )
    every = len(list(cells()))
    result = f"**Result.** {len(rows) - len(bad)} of {len(rows)} scenarios hold what is promised"
    result += ". " if len(rows) == every else f"; {every - len(rows)} others were not run. "
    result += f"{failed} of {sent:,} GETs failed"
    result += f", {inside} of them sent before their fault was complete.\n\n" if failed else ".\n\n"
    titles = "| step | fault | ended | GETs | failed | all serve | back |\n|---|---|---|---|---|---|---|\n"
    table = "".join(_line(row) + "\n" for row in rows)
    problems = "".join(f"- {row.step}, {row.fault}: {'; '.join(row.problems)}\n" for row in bad)
    return (
        HEAD + conditions + result + titles + table + LEGEND + (f"\n## What did not hold\n\n{problems}" if bad else "")
    )


def _line(row: Row) -> str:
    failed = f"{row.failed} ({row.inside})" if row.failed else "0"
    back = f"{row.back:.0f} s" if row.back is not None else ""
    mark = " **!**" if row.problems else ""
    ended = f"{row.outcome}, {row.seconds:.0f} s"
    return f"| {row.step} | {row.fault}{mark} | {ended} | {row.sent:,} | {failed} | {row.release} | {back} |"


if __name__ == "__main__":
    sys.exit(main())
