"""A control plane of a simulation: the real engine, keeping and watch on the one store, and the verbs of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control.context import Control
from beanpole.operations.board import Board
from beanpole.operations.engine import Engine
from beanpole.operations.work import Parts
from beanpole.options import catalogue
from beanpole.platforms.names import Platforms
from beanpole.reconcile.keeping import Keeping
from beanpole.reconcile.steady import steadily
from beanpole.reconcile.watch import Watch
from beanpole.simulation.balancer import SimulatedBalancers
from beanpole.simulation.fleet import SimulatedFleet, SimulatedLayers
from beanpole.simulation.library import library
from beanpole.simulation.loop import Process
from beanpole.simulation.store import SimulatedDatabase
from beanpole.store.facts import Identity

if TYPE_CHECKING:
    from beanpole.simulation.world import World

PYTHON = "3.11"
REGISTRY = catalogue.load()


class ControlPlane:
    """`name`: the same after a restart. `life` counts restarts."""

    def __init__(self, world: World, name: str, ahead: float = 0.0, life: int = 0) -> None:
        self.world = world
        self.name = name
        self.life = life
        self.ahead = ahead
        """Seconds that its clock is ahead of the world's."""
        self.process = Process(name, world.seed * 100 + life)
        self.database = SimulatedDatabase(world.store, lambda: world.loop.clock() + self.ahead, self.process)
        balancers: Any = SimulatedBalancers(world.edge, self.database, self.process)
        fleet = SimulatedFleet(world, self.database, self.process)
        layers: Any = SimulatedLayers()
        objects: Any = None
        blobs = library().blobs
        parts = Parts(self.database, blobs, fleet, balancers, layers, REGISTRY, Board())
        self.engine = Engine(parts, f"{name}/home")
        self.control = Control(
            database=self.database,
            blobs=blobs,
            objects=objects,
            registry=REGISTRY,
            platforms=Platforms([PYTHON]),
            identity=Identity("store", "123456789012", "local-1"),
            balancers=balancers,
            layers=layers,
            wake=lambda: world.loop.call_soon_threadsafe(self.engine.wake),
        )
        self._loops = {
            "engine": self.engine.run,
            "keeping": Keeping(self.database, fleet, balancers).run,
            "watch": Watch(self.control, fleet).run,
        }

    @property
    def answers(self) -> bool:
        return not (self.process.dead or self.process.frozen)

    def start(self) -> None:
        self.world.note(f"control plane {self.name} starts")
        for name, loop in self._loops.items():
            self.world.loop.spawn(self.process, steadily(name, loop), name)

    def kill(self) -> None:
        self.world.note(f"control plane {self.name} is killed")
        self.world.loop.kill(self.process)

    def freeze(self) -> None:
        if not self.process.dead:
            self.world.note(f"control plane {self.name} stands still")
            self.world.loop.freeze(self.process)

    def thaw(self) -> None:
        if self.process.frozen:
            self.world.note(f"control plane {self.name} goes on")
            self.world.loop.thaw(self.process)
