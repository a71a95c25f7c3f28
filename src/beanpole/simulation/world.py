"""What there is besides the control planes: machines, the balancer, the store; and who is told what happens there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from beanpole.simulation.balancer import Edge
from beanpole.simulation.library import library
from beanpole.simulation.machine import Machine
from beanpole.simulation.store import Store
from beanpole.simulation.version import Version

if TYPE_CHECKING:
    from beanpole.simulation.loop import VirtualLoop
    from beanpole.simulation.machine import Job, Web
    from beanpole.simulation.scenario import Scenario

ENVIRONMENT = "e-1"


class Witness(Protocol):
    """Whoever looks whether promises are kept."""

    def moved(self) -> None:
        """Where requests go, or what they meet there, has changed."""
        ...

    def ordered(self, machine: Machine, job: Job, arguments: dict[str, Any]) -> None: ...

    def leader_ran(self, machine: Machine, key: str) -> None: ...

    def stopping(self, machine: Machine, web: Web) -> None: ...

    def committed(self, tables: set[str]) -> None:
        """Something was written into these."""
        ...


class World:
    environment = ENVIRONMENT

    def __init__(self, loop: VirtualLoop, scenario: Scenario) -> None:
        self.loop = loop
        self.scenario = scenario
        self.seed = scenario.seed
        self.folder = library().folder
        self.store = Store()
        self.machines: dict[str, Machine] = {}
        self.gone: dict[str, Machine] = {}
        self.edge = Edge(self)
        self.off_since: dict[str, float] = {}
        self.refusing: set[str] = set()
        """Instances on which no version starts but the first."""
        self.excused: dict[str, str] = {}
        """Instances that something befell which is no fault of the control plane's, and what."""
        self.no_launch = 0
        self.felt: Counter[str] = Counter()
        """How often each kind of fault met something that was being done."""
        self.timeline: list[tuple[float, str]] = []
        self.witness: Witness | None = None
        self._versions: dict[str, Version] = {}
        self._newcomers = 0
        self.store.changed = self._committed

    # What machines need to know

    def version(self, digest: str) -> Version:
        found = self._versions.get(digest)
        if found is None:
            rows = self.store.ask("SELECT version_label FROM release WHERE digest = ?", digest)
            found = self._versions[digest] = self.scenario.versions[int(rows[0][0][1:]) - 1]
        return found

    def refuses(self, name: str, digest: str) -> bool:
        return name in self.refusing and self.version(digest) is not self.scenario.versions[0]

    def memory_of(self, machine: Machine) -> int:
        beside = max(sum(web.up for web in machine.webs.values()) - 1, 0)
        return max(self.scenario.memory - beside * self.scenario.memory_used, 0)

    def newcomer(self) -> tuple[str, str]:
        self._newcomers += 1
        return f"i-new{self._newcomers}", f"127.0.1.{self._newcomers}"

    def refuses_launch(self, _instance: str) -> bool:
        self.feels("launch", sure=bool(self.no_launch))
        return bool(self.no_launch)

    def make(self, name: str, address: str) -> Machine:
        machine = self.machines.setdefault(name, Machine(self, name, address))
        self.note(f"{name} is there")
        return machine

    def remove(self, name: str) -> None:
        machine = self.machines.pop(name, None)
        if machine is not None:
            self.machines[name] = machine
            machine.end()
            del self.machines[name]
            self.gone[name] = machine
            self.note(f"{name} is removed")
            self.moved()

    # What happens

    def feels(self, fault: str, *, sure: bool = True) -> None:
        """A fault was met by somebody, not only brought about."""
        if sure:
            self.felt[fault] += 1

    def note(self, words: str) -> None:
        self.timeline.append((self.loop.time(), words))

    def excuse(self, name: str, why: str) -> None:
        self.note(f"{name}: {why}")
        self.excused.setdefault(name, why)

    def moved(self) -> None:
        self.edge.traffic.moved(iter(self.edge.seats.values()))
        if self.witness is not None:
            self.witness.moved()

    def ordered(self, machine: Machine, job: Job, arguments: dict[str, Any]) -> None:
        self.note(f"{machine.name}: {job.key} begins (epoch {job.epoch})")
        if self.witness is not None:
            self.witness.ordered(machine, job, arguments)

    def done(self, machine: Machine, job: Job) -> None:
        why = f": {job.error['message']}" if job.error else ""
        self.note(f"{machine.name}: {job.key} {job.state}{why}")

    def leader_ran(self, machine: Machine, key: str) -> None:
        if self.witness is not None:
            self.witness.leader_ran(machine, key)

    def stopping(self, machine: Machine, web: Web) -> None:
        if self.witness is not None:
            self.witness.stopping(machine, web)

    def _committed(self, tables: set[str]) -> None:
        if self.witness is not None:
            self.witness.committed(tables)
