#!/usr/bin/env python3
"""Measures deployments to five real servers and prints the figures beside the goals of the design.

The servers are a test bed's: Debian with systemd and sshd on this machine, so root is needed, and all of them, the
control plane, the balancer and the load share its cores. Look at the load average before you compare two runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "hosts"))

from bed import Bed
from plot import HOSTS, Plot

from bench import conditions, interrupt
from figure import Figure, load_average, table
from hosts_deployments import RATE, Gate, HostsDeployments
from scratch import Broken, Scratch

ROUNDS = 3
SERVERS = 5


def measured(given: argparse.Namespace, gate: Gate) -> list[tuple[str, list[Figure]]]:
    scratch = Scratch("bench-hosts")
    try:
        with Plot() as plot:
            bed = Bed(plot)
            say("the servers start")
            servers = bed.up(given.servers, fresh=True)
            scratch.up()
            deployments = HostsDeployments(scratch, bed, servers, gate, say)
            sections = deployments.measure(given.rounds)
    except Broken as problem:
        raise Broken(f"{problem}\n{scratch.log()}") from problem
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            scratch.end()
    return sections


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each case (default: {ROUNDS})")
    parser.add_argument("--servers", type=int, default=SERVERS, help=f"default: {SERVERS}")
    parser.add_argument("--gate-checks", type=int, default=1, help="checks of the gate in a row (default: 1)")
    parser.add_argument("--gate-interval", type=float, default=0.5, help="seconds between them (default: 0.5)")
    parser.add_argument("--drain", type=int, default=10, help="seconds that requests have to end (default: 10)")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON to standard output")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    looked = subprocess.run([HOSTS, "check"], stdout=subprocess.PIPE, text=True, check=False)
    if looked.returncode:
        say(f"cannot run here: {'; '.join(looked.stdout.splitlines())}")
        return 1
    gate = Gate(given.gate_checks, given.gate_interval, given.drain)
    began = time.monotonic()
    facts = conditions() | gate.facts() | {"load": f"{RATE} requests a second, one in twenty takes a second"}
    try:
        sections = measured(given, gate)
    except Broken as problem:
        print(f"BROKEN: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    facts |= {"load average at the end": load_average(), "took": f"{time.monotonic() - began:.0f} s"}
    if given.json:
        figures = {title: [each.json() for each in found] for title, found in sections}
        print(json.dumps({"conditions": facts, "figures": figures}, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n")
        print(table(sections))
    return 0


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what} (load average {load_average()})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
