"""One scenario from its begin to its end, and what came of it."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError

from beanpole.aws.errors import AwsError
from beanpole.control import abort, promote, rebuild, restart, rollback, swap, terminate, update
from beanpole.control.context import By
from beanpole.control.swap import Called
from beanpole.control.update import Update
from beanpole.options.precedence import GROUP
from beanpole.options.setting import ENVIRONMENT_PROPERTIES, Setting
from beanpole.simulation.audit import audit, unsettled
from beanpole.simulation.canaries import canary_of
from beanpole.simulation.census import end_of, take
from beanpole.simulation.faults import Faults
from beanpole.simulation.loop import VirtualLoop
from beanpole.simulation.plane import ControlPlane
from beanpole.simulation.prepare import BESIDE, prepare
from beanpole.simulation.promises import Promises
from beanpole.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from beanpole.simulation.canaries import Canary
    from beanpole.simulation.promises import Sample
    from beanpole.simulation.scenario import Command, Scenario

PATIENCE = 3000.0
"""Virtual seconds after the last fault and the last command in which everything has to be settled."""

LOOK = 1.0
"""Seconds between looks whether it is."""

AGAIN = 1.0
"""Seconds until a client repeats a call that nobody answered."""


@dataclass
class History:
    scenario: Scenario
    broken: list[str]
    timeline: list[tuple[float, str]]
    outcomes: list[str]
    """Of the users' operations, in their order."""
    seconds: float
    lowest: int
    samples: list[Sample]
    """With the labels of versions for releases."""
    messages: list[str]
    """Of events."""
    spans: list[tuple[float, float]]
    """Begin and end of the users' operations."""
    refused: list[str] = field(default_factory=list)
    """Commands that were refused, with the sentence."""
    felt: Counter[str] = field(default_factory=Counter)
    """Faults that were met, by kind."""
    plans: Counter[str] = field(default_factory=Counter)
    """Of all operations, the system's own included: kind and policy."""
    steps: Counter[str] = field(default_factory=Counter)
    """That were begun: phase and kind."""
    canaries: list[Canary] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    """How all stands in the end, in lines without times; new instances are called alike."""
    entries: int = 0
    """Of all journals."""

    @property
    def struck(self) -> int:
        """How many of the users' operations a fault befell: one began, or went on, while they were under way."""
        faults = [(fault.at, fault.at + fault.lasts if fault.ends else self.seconds) for fault in self.scenario.faults]
        return sum(any(at <= end and over >= begin for at, over in faults) for begin, end in self.spans)

    def text(self) -> str:
        lines = [f"{at:9.3f} {words}" for at, words in self.timeline]
        return "\n".join([str(self.scenario), *lines, "", *self.broken])


class Simulation:
    def __init__(self, scenario: Scenario) -> None:
        self.loop = VirtualLoop()  # type: ignore[abstract] # what asyncio's loops do beyond it, nobody here asks for
        self.world = World(self.loop, scenario)
        self.scenario = scenario
        self.promises = Promises(self.world, self._heard)
        self.planes = [ControlPlane(self.world, f"cp-{at + 1}") for at in range(scenario.planes)]
        self._waiting: dict[str, asyncio.Event] = {}
        self._requests = itertools.count(1)
        self._refused: list[str] = []
        self._canaries: list[Canary] = []

    def run(self) -> History:
        prepare(self.world, self.planes[0])
        self.world.witness = self.promises
        self.world.moved()
        for plane in self.planes:
            plane.start()
        faults = Faults(self.world, self.planes)
        faults.schedule()
        script = self.loop.spawn(self.loop.world, self._script(), "the users")
        over = self.loop.spawn(self.loop.world, self._settle(script), "settling")
        self.loop.run_until(over.done)
        left = over.result()
        self.promises.broken += [
            f"{self.loop.time():8.3f} {words}" for words in left or audit(self.world, self.promises)
        ]
        for number, span in self.promises.watches.items():
            canary, broken = canary_of(self.world, number, *span)
            self._canaries += [canary] if canary is not None else []
            self.promises.broken += broken
        for words in self._faults():
            self.promises.broken.append(f"{self.loop.time():8.3f} {words}")
        history = self._history()
        self._end()
        self.world.store.close()
        return history

    def _end(self) -> None:
        """Nothing is left waiting."""
        processes = [*(plane.process for plane in self.planes), self.loop.world]
        for process in processes:
            self.loop.kill(process)
        self.loop.run_until(lambda: not any(process.tasks for process in processes), self.loop.time() + 60)

    def _history(self) -> History:
        ask = self.world.store.ask
        census = take(self.world)
        rows = ask("SELECT id, kind, outcome FROM operation WHERE origin = 'user' ORDER BY id")
        labels = dict(ask("SELECT digest, version_label FROM release"))
        samples = [
            (at, count, {labels[digest]: number for digest, number in sorted(releases.items())})
            for at, count, releases in self.promises.samples
        ]
        return History(
            scenario=self.scenario,
            broken=self.promises.broken,
            timeline=self.world.timeline,
            outcomes=[f"{kind}: {outcome}" for _, kind, outcome in rows],
            seconds=self.loop.time(),
            lowest=self.promises.lowest,
            samples=samples,
            messages=[message for (message,) in ask("SELECT message FROM event ORDER BY id")],
            spans=[self.promises.spans[number] for number, *_ in rows],
            refused=self._refused,
            felt=self.world.felt,
            plans=census.plans,
            steps=census.steps,
            canaries=self._canaries,
            end=end_of(self.world),
            entries=self.world.store.entries(),
        )

    async def _settle(self, script: asyncio.Task[None]) -> list[str]:
        """Empty once everything is as it should be; what is not, when it does not become so."""
        await script
        await asyncio.sleep(max(self.scenario.calm_at - self.loop.time(), 0.0))
        limit = self.loop.time() + PATIENCE
        while left := unsettled(self.world):
            if self.loop.time() > limit:
                return left
            await asyncio.sleep(LOOK)
        return []

    # Users

    async def _script(self) -> None:
        last: asyncio.Event | None = None
        for command in self.scenario.commands:
            chained = command.at is None and last is not None
            if chained and last is not None:
                await last.wait()
            else:
                await asyncio.sleep(max((command.at or 0.0) - self.loop.time(), 0.0))
            mine = await self._given(command, chained)
            last = mine if mine is not None and command.kind not in ("abort", "promote") else last
        if last is not None:
            await last.wait()

    async def _given(self, command: Command, chained: bool) -> asyncio.Event | None:
        """Set when the operation has ended; None when it was refused."""
        while True:
            request = f"user-{next(self._requests)}"
            plane = next((plane for plane in self.planes if plane.answers), None)
            self.world.note(f"user: {command.kind} {command.number or ''}")
            event = self._waiting[request] = asyncio.Event()
            try:
                if plane is None:
                    raise OperationalError("", None, Exception("no control plane answers"))
                self._call(plane, By("ada", request), command)
            except OperationalError as nobody:
                self.world.note(f"user: no answer: {nobody.orig}")
                found = self.world.store.ask("SELECT id FROM operation WHERE request_id = ?", request)
                if found:
                    return event  # it had been written
                await asyncio.sleep(AGAIN)
                continue
            except AwsError as refusal:
                self.world.note(f"user: refused: {refusal.message}")
                self._refused.append(f"{command.kind}: {refusal.message}")
                if chained and "is in an invalid state" in refusal.message and not self._is_gone():
                    self.promises.breaks(f"{command.kind} was refused after the operation before had ended")
                return None
            return event

    def _is_gone(self) -> bool:
        ((status,),) = self.world.store.ask("SELECT status FROM environment WHERE id = ?", self.world.environment)
        return str(status).startswith("Terminat")

    def _call(self, plane: ControlPlane, by: By, command: Command) -> None:
        control, name = plane.control, "shop"
        named: Any = {"name": name, "id_": None}
        match command.kind:
            case "deploy" | "both" | "scale" | "configure" | "check" | "replace":
                update.update(control, by, asked(command), **named)
            case "rollback":
                rollback.rollback(control, by, rollback.decide(control, number=None, **named))
            case "restart":
                restart.restart(control, by, **named)
            case "rebuild":
                rebuild.rebuild(control, by, **named)
            case "swap":
                swap.swap(control, by, Called(name=name), Called(name=BESIDE))
            case "promote":
                promote.promote(control, by, **named)
            case "abort":
                abort.abort(control, by, **named)
            case "terminate":
                terminate.terminate(control, by, **named)

    def _heard(self, request: str) -> None:
        event = self._waiting.get(request)
        if event is not None:
            event.set()

    def _faults(self) -> list[str]:
        return [f"a task died: {problem!r}" for problem in self.loop.faults if isinstance(problem, Exception)]


def asked(command: Command) -> Update:
    """What an update asks for."""
    number = str(command.number)
    sizes = str(command.size if command.kind == "both" else command.number)
    changes = {
        "scale": [(GROUP, each, sizes) for each in ("MinSize", "MaxSize")],
        "both": [(GROUP, each, sizes) for each in ("MinSize", "MaxSize")],
        "configure": [(ENVIRONMENT_PROPERTIES, "COLOUR", f"the {number}th")],
        "check": [("aws:elasticbeanstalk:environment:process:default", "HealthCheckPath", f"/health{number}")],
        "replace": [("aws:autoscaling:launchconfiguration", "InstanceType", f"t{number}.small")],
    }.get(command.kind, [])
    label = f"v{number}" if command.kind in ("deploy", "both") else None
    settings = [Setting(namespace, option, "", value) for namespace, option, value in changes]
    return Update(version_label=label, changes=settings)


def run(scenario: Scenario) -> History:
    """What the control plane logs becomes part of the timeline; a fault of ours in it is a broken promise."""
    simulation = Simulation(scenario)

    def processor(_logger: object, level: str, entry: MutableMapping[str, Any]) -> str:
        problem = entry.pop("exc_info", None)
        words = " ".join(f"{key}={value}" for key, value in entry.items() if key != "event")
        simulation.world.note(f"log {level}: {entry['event']} {words} {problem if problem is not None else ''}")
        if isinstance(problem, Exception) and not isinstance(problem, OperationalError):
            simulation.promises.breaks(f"a fault of ours: {entry['event']}: {problem!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[processor],
        wrapper_class=structlog.make_filtering_bound_logger(30),
        cache_logger_on_first_use=False,
    )
    try:
        return simulation.run()
    finally:
        structlog.configure(**before)
