"""How long deployments take on this machine's instances, what they store, and what they install.

They go on under a load that is counted. A deployment is timed twice: the whole command, as a user waits for it, and
from the call to the closing event, which is what the control plane and the instances need.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from figure import Figure, median
from meter import Meter
from scratch import Broken, Ran, Scratch

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "pet-breeds"
ENVIRONMENT = "pets-dev"
RATE = 200
"""Requests a second while deployments are measured."""

LEAST = 3
"""Rounds of a series that are done even where time is short."""

END_LIMIT = 60.0
"""Seconds for an operation that the API began to end."""

_STEP = re.compile(r"(?:forward|return)/((?:join-)?(activate|gate)-\d+)/(?!begin$)")


@dataclass(frozen=True)
class Timed:
    """Seconds: the whole command, from the call to the closing event, and of that until applications were up, and in
    the gate's own pauses."""

    command: float
    operation: float
    boot: float
    gate: float


@dataclass
class Series:
    """Repetitions of one kind of operation."""

    times: list[Timed] = field(default_factory=list)

    def figures(self, key: str, what: str, most: float | None = None, goal: str = "") -> list[Figure]:
        operation = [each.operation for each in self.times]
        boot, gate = (_middle(self.times, name) for name in ("boot", "gate"))
        apart = f"of it {boot:.1f} s boot, {gate:.1f} s gate" if boot else ""
        return [
            median(f"{key}.operation", what, operation, "s", most=most, goal=goal, note=apart),
            median(f"{key}.command", "  the whole command", [each.command for each in self.times], "s"),
        ]


class Deployments:
    """`again(done)` says whether there is time for another round of a series."""

    def __init__(self, scratch: Scratch, instances: int, again: Callable[[int], bool]) -> None:
        self._scratch = scratch
        self._instances = instances
        self._again = again
        self._folder = scratch.root / "pets"
        self._changes = 0
        self._operations: list[str] = []

    def measure(self, say: Callable[[str], None]) -> list[Figure]:
        say("first deployment")
        first, installed = self._first()
        say("rolling deployments and rollbacks")
        words = [f"127.0.0.1:{self._scratch.port}", "--host", f"{ENVIRONMENT}.localhost", "--path", "/version"]
        meter = Meter(*words, "--rate", str(RATE))
        try:
            rolling, back, stored = Series(), Series(), []
            for _ in self._rounds():
                before = self._files()
                rolling.times.append(self._changed())
                stored.append(_growth(before, self._files()))
                back.times.append(self._timed(self._scratch.run("rollback", ENVIRONMENT, "--yes")))
            say("deployments all at once")
            at_once = Series()
            for _ in self._rounds():
                at_once.times.append(self._changed("--policy", "all-at-once"))
            say("deployments of what runs already")
            unchanged, touched = self._unchanged()
            say("a version that cannot start")
            broken = Series()
            for _ in range(LEAST):
                broken.times.append(self._broken())
            load = meter.end()
        finally:
            meter.kill()
        per_instance = [each[2] / self._instances for each in stored]
        return [
            self._first_figure(first),
            *rolling.figures("rolling", "code only, rolling one by one", 8.0, "8 s (5 servers)"),
            *at_once.figures("at_once", "code only, all at once", 3.5, "3.5 s (5 servers)"),
            *back.figures("rollback", "rollback", 3.0, "3 s (5 servers)"),
            *unchanged,
            Figure("unchanged.touched", "  instances touched", touched, "", most=0, goal="0"),
            *broken.figures("broken", "cannot start: all back on the old version", 5.0, "5 s (5 servers)"),
            Figure(
                "load.failed",
                "failed requests meanwhile",
                load.failed,
                f"of {load.requests:,}",
                most=0,
                goal="0 of 100,000",
                note=f"{RATE} a second over all but the first deployment",
            ),
            median("stored.blobs", "stored for a change of one line: blobs", [each[0] for each in stored], "bytes"),
            median("stored.objects", "  the bundle itself, as uploaded", [each[1] for each in stored], "bytes"),
            median(
                "stored.release",
                "  on each instance",
                per_instance,
                "bytes",
                note="a copy, compiled",
            ),
            Figure("installed.first", "packages installed by the first deployment", installed, ""),
            Figure("installed.later", "  by all the others", self._installed(self._operations[1:]), "", 0, "0"),
        ]

    def _first_figure(self, first: Timed) -> Figure:
        return Figure(
            "first.operation",
            f"first deployment to {self._instances} instances",
            first.operation,
            "s",
            note=f"one measurement, of it {first.boot:.1f} s boot, {first.gate:.1f} s gate; most else is downloading",
        )

    def _first(self) -> tuple[Timed, int]:
        shutil.copytree(EXAMPLE / "v1-good", self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        words = ["--label", "v1", "--instances", str(self._instances)]
        timed = self._timed(self._scratch.run("deploy", str(self._folder), *words))
        return timed, self._installed(self._operations)

    def _changed(self, *words: str) -> Timed:
        """Deploys one more line of code."""
        self._changes += 1
        label = f"change-{self._changes}"
        source = self._folder / "application.py"
        source.write_text((EXAMPLE / "v1-good" / "application.py").read_text() + f"\n# {label}\n")
        return self._timed(self._scratch.run("deploy", str(self._folder), "--label", label, *words))

    def _broken(self) -> Timed:
        self._changes += 1
        source = self._folder / "application.py"
        source.write_text((EXAMPLE / "v3-broken" / "application.py").read_text() + f"\n# {self._changes}\n")
        label = f"broken-{self._changes}"
        ran = self._scratch.run("deploy", str(self._folder), "--label", label, check=False)
        if ran.status != 1:
            raise Broken(f"a version that cannot start ended with exit status {ran.status}")
        return self._timed(ran)

    def _unchanged(self) -> tuple[list[Figure], int]:
        commands: list[float] = []
        operations: list[float] = []
        touched = 0
        label = f"change-{self._changes}"
        for _ in self._rounds():
            ran = self._scratch.run("deploy", str(self._folder))
            if ran.result["outcome"] != "unchanged":
                raise Broken(f"nothing changed, and the deployment ended as {ran.result['outcome']}")
            commands.append(ran.seconds)
            began = time.time()
            answer = self._scratch.api.beanstalk("UpdateEnvironment", EnvironmentName=ENVIRONMENT, VersionLabel=label)
            operation = self._ended(answer["ResponseMetadata"]["RequestId"])
            operations.append(self._closed(operation["RequestId"]) - began)
            touched += len({each["InstanceId"] for step in operation["Steps"] for each in step["Instances"]})
        return [
            median("unchanged.operation", "no change", operations, "s", most=1.0, goal="1 s (5 servers)"),
            median("unchanged.command", "  the whole command", commands, "s"),
        ], touched

    # -- measuring --------------------------------------------------------------------------------------------------

    def _rounds(self) -> Iterator[int]:
        """Numbers, for as long as there is time for another round."""
        number = 0
        while number < LEAST or self._again(number):
            yield number
            number += 1

    def _timed(self, ran: Ran) -> Timed:
        operation = self._scratch.operation(ran.result["operation"])
        self._operations.append(ran.result["operation"])
        seconds = self._closed(operation["RequestId"]) - operation["CreatedAt"].timestamp()
        waited = self._waited(ran.result["operation"])
        return Timed(ran.seconds, seconds, waited["activate"], waited["gate"])

    def _ended(self, request_id: str) -> dict[str, Any]:
        until = time.monotonic() + END_LIMIT
        while time.monotonic() < until:
            found = self._scratch.api.beanpole("DescribeOperations", RequestId=request_id)["Operations"]
            if found and found[0]["Phase"] == "done":
                answer: dict[str, Any] = found[0]
                return answer
            time.sleep(0.02)
        raise Broken(f"an operation did not end within {END_LIMIT:.0f} s")

    def _closed(self, request_id: str) -> float:
        """The time of the closing event, in seconds since 1970."""
        events = self._scratch.api.beanstalk("DescribeEvents", RequestId=request_id)["Events"]
        return float(max(each["EventDate"].timestamp() for each in events))

    def _waited(self, operation_id: str) -> dict[str, float]:
        """Seconds in Activate and Gate, by the journal: of each step those of its slowest instance."""
        slowest: dict[str, tuple[str, float]] = {}
        for key, result in self._journal(operation_id):
            step = _STEP.match(key)
            if step is not None:
                seconds = max(result.get("seconds", 0.0), slowest.get(step[1], ("", 0.0))[1])
                slowest[step[1]] = (step[2], seconds)
        return {kind: sum(s for of, s in slowest.values() if of == kind) for kind in ("activate", "gate")}

    def _installed(self, operations: list[str]) -> int:
        """Packages installed, by the journal's results of Fetch."""
        rows = [row for each in operations for row in self._journal(each)]
        return sum(result.get("installed", 0) for key, result in rows if "fetch/" in key)

    def _journal(self, operation_id: str) -> list[tuple[str, dict[str, Any]]]:
        with closing(sqlite3.connect(f"file:{self._scratch.home.database}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT key, result FROM journal WHERE operation_id = ?", (int(operation_id),)).fetchall()
        return [(key, msgspec.json.decode(result)) for key, result in rows]

    def _files(self) -> list[dict[str, int]]:
        """Sizes of files by path: blobs, objects, releases on the instances."""
        home = self._scratch.home
        releases = [path for folder in home.instances.glob("i-*/releases") for path in folder.rglob("*")]
        groups = [home.blobs.rglob("*"), home.objects.rglob("*"), releases]
        return [{str(path): path.stat().st_size for path in group if path.is_file()} for group in groups]


def _growth(before: list[dict[str, int]], after: list[dict[str, int]]) -> tuple[int, int, int]:
    """Bytes of files that are new."""
    blobs, objects, releases = (
        sum(size for path, size in now.items() if path not in then) for then, now in zip(before, after, strict=True)
    )
    return blobs, objects, releases


def _middle(times: list[Timed], name: str) -> float:
    values = sorted(getattr(each, name) for each in times)
    return float(values[len(values) // 2])
