"""Deployments to real servers, case by case, each measured in seconds, processor time, bytes and failed requests.

One load runs over everything but the first deployment. A deployment is timed twice: the whole command, as a user waits
for it, and from the API's call to the closing event.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from breakdown import Breakdown, breakdown
from figure import Figure, median
from hosts_traffic import Traffic, processor_seconds
from meter import Counts, Meter
from scratch import Broken, Command, Ran, Scratch

if TYPE_CHECKING:
    from bed import Bed, Server

APPLICATION = Path(__file__).resolve().parent / "bench_app"
ENVIRONMENT = "bench-dev"
RATE = 200
"""Requests a second while deployments are measured."""

SLOW_EVERY = 20 / RATE
"""Seconds between requests that take one second: they are one in twenty."""

SETTLED = 2.0
"""Seconds of load after each case that still belong to it, for what fails late."""

ADDING = 600.0
"""Seconds for servers to be made ready."""

ENDED = 60.0
"""Seconds for an operation that the API began to end."""

CHANGED, IDNA = "idna==3.4", ("3.6", "3.7", "3.8", "3.9", "3.10")
"""The package that changes, and its versions, in turn."""

FREE_BYTES = 64 * 1024
"""Bytes that a deployment may send to a server beyond what changed."""

ROLLING = ("--policy", "rolling", "--batch-size", "1")


@dataclass(frozen=True)
class Gate:
    """Checks in a row, seconds between them, seconds for the old release's requests to end."""

    checks: int
    interval: float
    drain: int

    def options(self) -> list[str]:
        process = "aws:elasticbeanstalk:environment:process:default"
        settings = (
            f"beanpole:deployment:GateChecks={self.checks}",
            f"beanpole:deployment:GateInterval={self.interval:g}",
            f"{process}:DeregistrationDelay={self.drain}",
            f"{process}:HealthCheckPath=/health",
        )
        return [word for setting in settings for word in ("--option", setting)]

    def facts(self) -> dict[str, str]:
        return {
            "gate": f"GateChecks {self.checks}, GateInterval {self.interval:g} s",
            "drain": f"DeregistrationDelay {self.drain} s",
        }


@dataclass(frozen=True)
class Measured:
    """One command. `processor`: seconds of the control plane with its transfers; `sent`: bytes to each server."""

    command: float
    operation: float | None
    gate: float
    drain: float
    processor: float
    sent: Sequence[int]


@dataclass
class Case:
    key: str
    what: str
    most: float | None = None
    goal: str = ""
    most_bytes: int | None = None
    runs: list[Measured] = field(default_factory=list)
    operations: list[float] = field(default_factory=list)
    """Seconds of operations that no command begins."""
    load: Counts = field(default_factory=Counts)

    def figures(self) -> list[Figure]:
        key, runs = self.key, self.runs
        found = [median(f"{key}.command", "the command", [each.command for each in runs], "s")]
        operations = [*self.operations, *(each.operation for each in runs if each.operation is not None)]
        if operations:
            gate, drain = (statistics.median(getattr(each, name) for each in runs) for name in ("gate", "drain"))
            note = f"of it {gate:.2f} s gate, {drain:.2f} s drain" if gate or drain else ""
            found.append(
                median(f"{key}.operation", "the operation", operations, "s", most=self.most, goal=self.goal, note=note)
            )
        found.append(
            median(f"{key}.processor", "processor time of the control plane", [each.processor for each in runs], "s")
        )
        if all(each.sent for each in runs):
            goal = f"{self.most_bytes:,}: changed + 64 KB" if self.most_bytes else ""
            most = [max(each.sent) for each in runs]
            found.append(
                median(f"{key}.sent", "sent to the server with most", most, "bytes", most=self.most_bytes, goal=goal)
            )
        if self.load.requests:
            unit = f"of {self.load.requests:,}"
            found.append(Figure(f"{key}.failed", "failed requests", self.load.failed, unit, most=0, goal="0"))
        return found


class HostsDeployments:
    """On servers of a bed that have nothing of ours yet. `say` hears what is going on."""

    def __init__(
        self, scratch: Scratch, bed: Bed, servers: Sequence[Server], gate: Gate, say: Callable[[str], None]
    ) -> None:
        self._scratch = scratch
        self._bed = bed
        self._servers = servers
        self._gate = gate
        self._say = say
        self._folder = scratch.root / "app"
        self._changes = 0
        self._idna = 0
        self._meter: Meter | None = None
        self._traffic = Traffic(bed.bridge, {server.name: server.address for server in servers})
        self._last: Breakdown | None = None

    def measure(self, rounds: int) -> list[tuple[str, list[Figure]]]:
        shutil.copytree(APPLICATION, self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._change()
        changed = len(self._source()) + 20  # the file with one more line, and the file with the version
        first = Case("first", "First deployment")
        rolling = Case("rolling", "Code only, rolling one by one", 8.0, "8 s", changed + FREE_BYTES)
        back = Case("rollback", "Rollback", 3.0, "3 s")
        at_once = Case("at_once", "Code only, all at once", 3.5, "3.5 s", changed + FREE_BYTES)
        dependency = Case("dependency", "One dependency changed, rolling one by one")
        nothing = Case("unchanged", "No change", 1.0, "1 s")
        broken = Case("broken", "A version that cannot import", 5.0, "5 s")
        with self._traffic:
            self._add()
            self._say("first deployment")
            with self._measured(first) as run:
                run(self._deploy("--instances", str(len(self._servers)), *self._gate.options(), *ROLLING))
            words = [f"127.0.0.1:{self._scratch.port}", "--host", f"{ENVIRONMENT}.localhost", "--path", "/version"]
            self._meter = Meter(*words, "--rate", str(RATE), "--slow-every", str(SLOW_EVERY))
            try:
                for number in range(rounds):
                    self._say(f"round {number + 1} of {rounds}")
                    self._change()
                    with self._measured(rolling) as run:
                        run(self._deploy(*ROLLING))
                    by_step = self._last
                    with self._measured(back) as run:
                        run(self._scratch.run("rollback", ENVIRONMENT, "--yes"))
                    self._change()
                    with self._measured(at_once) as run:
                        run(self._deploy("--policy", "all-at-once"))
                    self._change_dependency()
                    with self._measured(dependency) as run:
                        run(self._deploy(*ROLLING))
                    with self._measured(nothing) as run:
                        run(self._deploy())
                    nothing.operations.append(self._unchanged())
                    self._change(broken=True)
                    with self._measured(broken) as run:
                        run(self._deploy(status=1))
            finally:
                self._meter.kill()
        if by_step is not None:
            self._say(f"the last rolling deployment, step by step:\n{by_step.table()}\n")
        cases = [first, rolling, at_once, dependency, nothing, back, broken]
        return [(case.what, case.figures()) for case in cases]

    # -- what is done -----------------------------------------------------------------------------------------------

    def _add(self) -> None:
        self._say("servers are added")
        home = str(self._scratch.home.root)
        ran = Command(
            ["hosts", "add", "--home", home, "--json", "--yes", "--ssh-config", str(self._bed.ssh_config)]
        ).end(ADDING)
        if ran.status != 0:
            raise Broken("\n".join(ran.words))

    def _deploy(self, *words: str, status: int = 0) -> Ran:
        label = f"change-{self._changes}"
        ran = self._scratch.run(
            "deploy", str(self._folder), "--environment", ENVIRONMENT, "--label", label, *words, check=False
        )
        if ran.status != status:
            raise Broken(f"{label} ended with exit status {ran.status}:\n" + "\n".join(ran.words[-4:]))
        return ran

    def _unchanged(self) -> float:
        """Seconds of an update to what runs already, from the call to its end."""
        api, label = self._scratch.api, f"change-{self._changes}"
        began = time.monotonic()
        answer = api.beanstalk("UpdateEnvironment", EnvironmentName=ENVIRONMENT, VersionLabel=label)
        until = began + ENDED
        while time.monotonic() < until:
            found = api.beanpole("DescribeOperations", RequestId=answer["ResponseMetadata"]["RequestId"])["Operations"]
            if found and found[0]["Phase"] == "done":
                operation = breakdown(self._scratch.home.database, int(found[0]["OperationId"]))
                if operation.parts:
                    raise Broken(f"nothing changed, and there were steps: {[each.step for each in operation.parts]}")
                return operation.seconds
            time.sleep(0.02)
        raise Broken(f"an operation did not end within {ENDED:.0f} s")

    def _source(self) -> str:
        return (APPLICATION / "application.py").read_text()

    def _change(self, *, broken: bool = False) -> None:
        """One more line of code, and a version of its own."""
        self._changes += 1
        first = "import a_module_that_is_not_there\n" if broken else ""
        (self._folder / "application.py").write_text(f"{first}{self._source()}\n# change {self._changes}\n")
        (self._folder / "VERSION").write_text(f"change-{self._changes}\n")

    def _change_dependency(self) -> None:
        self._change()
        version = IDNA[self._idna % len(IDNA)]
        self._idna += 1
        wanted = (APPLICATION / "requirements.txt").read_text().replace(CHANGED, f"idna=={version}")
        (self._folder / "requirements.txt").write_text(wanted)

    # -- measuring --------------------------------------------------------------------------------------------------

    @contextmanager
    def _measured(self, case: Case) -> Iterator[Callable[[Ran], None]]:
        """Call what it gives with the command that ran inside; all that happened meanwhile is the case's."""
        control = self._scratch.home.holder()
        if control is None:
            raise Broken("the control plane has died")
        before, load = self._traffic.sent(), self._counts()
        processor = processor_seconds(control)
        ran: list[Ran] = []
        yield ran.append
        processor = processor_seconds(control) - processor
        after = self._traffic.sent()
        if self._meter is not None:
            time.sleep(SETTLED)
        now = self._counts() - load
        case.load = Counts(case.load.answered + now.answered, case.load.failed + now.failed)
        operation = (ran[0].result or {}).get("operation")
        parts = breakdown(self._scratch.home.database, int(operation)) if operation is not None else None
        self._last = parts
        case.runs.append(
            Measured(
                command=ran[0].seconds,
                operation=parts.seconds if parts is not None else None,
                gate=parts.waited("gate") if parts is not None else 0.0,
                drain=parts.of("drain") if parts is not None else 0.0,
                processor=processor,
                sent=[after[name] - before[name] for name in after],
            )
        )
        self._say(f"{case.what}: {ran[0].seconds:.1f} s, {now.failed} of {now.requests} requests failed")

    def _counts(self) -> Counts:
        return self._meter.read() if self._meter is not None else Counts()
