"""`python -m beanpole.simulation`: many random deployments to simulated fleets, or the history of one seed.

Exit status 1 when a promise was broken; each such seed is printed with the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from beanpole.simulation.many import many
from beanpole.simulation.run import run
from beanpole.simulation.scenario import drawn

if TYPE_CHECKING:
    from collections import Counter

    from beanpole.simulation.many import Sum


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m beanpole.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="print the history of this one")
    parser.add_argument("--deployments", type=int, default=10_000, help="how many there shall be (10,000)")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with (0)")
    parser.add_argument("--processes", type=int, default=0, help="how many at once (as many as there are cores)")
    words = parser.parse_args()
    if words.seed is not None:
        history = run(drawn(words.seed))
        sys.stdout.write(f"{history.text()}\n{history.outcomes}\n")
        return int(bool(history.broken))
    began = time.monotonic()
    whole = many(words.deployments, first=words.first, processes=words.processes, told=_progress)
    _report(whole, time.monotonic() - began)
    return int(bool(whole.broken))


def _progress(so_far: Sum) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{so_far.deployments:,} deployments, {len(so_far.broken)} with a broken promise ")


def _report(whole: Sum, seconds: float) -> None:
    each = whole.seconds / max(whole.deployments, 1) * 1000
    lines = [
        f"{whole.deployments:,} deployments in {whole.scenarios:,} scenarios, {whole.struck:,} of them met by a fault",
        f"{seconds:.0f} s; {whole.seconds:.0f} s of a processor, {each:.1f} ms for each deployment",
        *(
            f"{title}: {_counts(counts)}"
            for title, counts in (
                ("outcomes", whole.outcomes),
                ("refused", whole.refused),
                ("faults met", whole.felt),
                ("plans", whole.plans),
                ("steps", whole.steps),
                ("canaries", whole.canaries),
            )
        ),
    ]
    for broken in whole.broken:
        lines += [f"BROKEN: {broken.command}", *(f"    {words.strip()}" for words in broken.promises[:3])]
    sys.stdout.write("\n".join(lines) + "\n")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
