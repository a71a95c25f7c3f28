"""Faults of a scenario, brought about at their times."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from beanpole.simulation.plane import ControlPlane
from beanpole.simulation.store import Cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.simulation.loop import Process
    from beanpole.simulation.machine import Machine
    from beanpole.simulation.scenario import Fault
    from beanpole.simulation.world import World

FLAP = 3.0
"""Seconds between the deaths of an application that flaps."""


class Faults:
    """`planes` are replaced as they are started anew."""

    def __init__(self, world: World, planes: list[ControlPlane]) -> None:
        self._world = world
        self._planes = planes
        self._random = Random(f"faults/{world.seed}")

    def schedule(self) -> None:
        for fault in self._world.scenario.faults:
            begin = getattr(self, f"_{fault.kind}")
            self._world.loop.call_at(fault.at, self._begins, fault, begin)

    def _begins(self, fault: Fault, begin: Callable[[Fault], None]) -> None:
        self._world.note(f"fault: {fault.kind} {fault.target} for {fault.lasts} s {fault.amount or ''} {fault.what}")
        begin(fault)

    def _machine(self, fault: Fault) -> Machine | None:
        names = sorted(self._world.machines)
        if not names:
            return None
        machine = self._world.machines[names[fault.target % len(names)]]
        self._world.excused.setdefault(machine.name, fault.kind)
        return machine

    def _later(self, fault: Fault, end: Callable[[], object]) -> None:
        """Without an end where it lasts for ever."""
        if fault.lasts:
            self._world.loop.call_later(fault.lasts, end)

    # Of instances

    def _silent(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            machine.silence()
            self._later(fault, machine.speak)

    def _agent(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            self._world.feels("agent")
            machine.agent_dies()
            machine.silence()
            self._later(fault, machine.speak)

    def _off(self, fault: Fault) -> None:
        if (machine := self._machine(fault)) and machine.on:
            self._world.feels("off")
            machine.power_off()
            self._world.off_since[machine.name] = self._world.loop.time()
            self._later(fault, lambda: self._on(machine))

    def _on(self, machine: Machine) -> None:
        if machine.name in self._world.machines:
            machine.power_on()

    def _app(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            self._world.feels("app", sure=machine.app_dies())

    def _flap(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            for at in range(int(fault.lasts / FLAP)):
                self._world.loop.call_later(at * FLAP, lambda: self._world.feels("flap", sure=machine.app_dies()))

    def _slow(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            machine.slow = fault.amount
            self._later(fault, lambda: setattr(machine, "slow", 1.0))

    def _lie(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            machine.lies.add(fault.what)
            self._later(fault, lambda: machine.lies.discard(fault.what))

    def _lose(self, fault: Fault) -> None:
        if machine := self._machine(fault):
            machine.loses += int(fault.amount)

    # Elsewhere

    def _launch(self, fault: Fault) -> None:
        self._world.no_launch += 1
        self._later(fault, lambda: setattr(self._world, "no_launch", self._world.no_launch - 1))

    def _edge(self, fault: Fault) -> None:
        edge = self._world.edge
        edge.silent += 1
        self._later(fault, lambda: setattr(edge, "silent", edge.silent - 1))

    def _store(self, fault: Fault) -> None:
        def fails() -> str:
            return fault.what if self._random.random() < fault.amount else ""

        for plane in self._planes:
            plane.database.fails = fails
            plane.database.failed = lambda: self._world.feels("store")
        self._later(fault, self._store_works)

    def _store_works(self) -> None:
        for plane in self._planes:
            plane.database.fails = lambda: ""

    def _kill(self, fault: Fault) -> None:
        at = fault.target % len(self._planes)
        plane = self._planes[at]
        if not plane.process.dead:
            self._world.feels("kill")
            plane.kill()
            self._later(fault, lambda: self._start_again(at))

    def _cut(self, fault: Fault) -> None:
        def kills(writer: Process) -> None:
            at = next(at for at, plane in enumerate(self._planes) if plane.process is writer)
            self._world.feels("cut")
            self._planes[at].kill()
            self._later(fault, lambda: self._start_again(at))

        store = self._world.store
        store.cut = Cut(store.entries() + int(fault.amount), fault.what, kills)

    def _start_again(self, at: int) -> None:
        before = self._planes[at]
        self._planes[at] = ControlPlane(self._world, before.name, before.ahead, before.life + 1)
        self._planes[at].database.fails = before.database.fails
        self._planes[at].database.failed = before.database.failed
        self._planes[at].start()

    def _freeze(self, fault: Fault) -> None:
        plane = self._planes[fault.target % len(self._planes)]
        self._world.feels("freeze", sure=not plane.process.dead)
        plane.freeze()
        self._later(fault, plane.thaw)

    def _jump(self, fault: Fault) -> None:
        self._world.feels("jump")
        self._planes[fault.target % len(self._planes)].ahead += fault.amount
