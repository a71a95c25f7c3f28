"""Many random scenarios, on all cores, and what they were: how many deployments, which faults met them, through which
steps they went. One scenario is the same in whichever process it runs, so that its seed is all that has to be told."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING

import msgspec

from beanpole.simulation.run import run
from beanpole.simulation.scenario import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from beanpole.simulation.run import History

TOGETHER = 25
"""Seeds that a process is given at a time."""


class Broken(msgspec.Struct, frozen=True):
    seed: int
    promises: list[str]

    @property
    def command(self) -> str:
        """What repeats it, and prints its history."""
        return f"python -m beanpole.simulation --seed {self.seed}"


class Sum(msgspec.Struct):
    """Of some scenarios. `seconds`: of a processor.

    A deployment is one operation of a user that was begun and came to its end: an update to a version or to settings,
    another number of instances, a rollback, a restart, a rebuild, a swap, a termination. Neither what was refused
    counts, nor what the system began itself, nor the word that aborts or promotes one: that is part of the one.
    """

    scenarios: int = 0
    deployments: int = 0
    struck: int = 0
    """Deployments that a fault befell: one began, or went on, between the begin and the end of them."""
    seconds: float = 0.0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    felt: Counter[str] = msgspec.field(default_factory=Counter)
    """Faults that somebody met, by kind."""
    plans: Counter[str] = msgspec.field(default_factory=Counter)
    steps: Counter[str] = msgspec.field(default_factory=Counter)
    canaries: Counter[str] = msgspec.field(default_factory=Counter)
    """Watched releases, by whether their requests fared equally, whether they were judged, and how that ended."""
    broken: list[Broken] = msgspec.field(default_factory=list)

    def add(self, other: Sum) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def one(history: History, seconds: float = 0.0) -> Sum:
    found = Sum(1, len(history.outcomes), history.struck, seconds)
    found.outcomes.update(history.outcomes)
    found.refused.update(words.partition(":")[0] for words in history.refused)
    found.felt, found.plans, found.steps = history.felt, history.plans, history.steps
    for each in history.canaries:
        kind = "equal" if each.equal else "worse"
        found.canaries[f"{kind}, {'judged' if each.judged else 'not judged'}, {each.ended}"] += 1
    if history.broken:
        found.broken.append(Broken(history.scenario.seed, history.broken))
    return found


def several(seeds: Iterable[int]) -> Sum:
    whole = Sum()
    for seed in seeds:
        began = time.process_time()
        history = run(drawn(seed))
        whole.add(one(history, time.process_time() - began))
    return whole


def many(deployments: int, *, first: int = 0, processes: int = 0, told: Callable[[Sum], object] = bool) -> Sum:
    """Seeds from `first` on until there were so many deployments. `processes`: 0 for as many as there are cores.

    `told` is called with the sum so far, now and then. Seeds are taken in their order, and a whole number of them.
    """
    processes = processes or os.cpu_count() or 1
    whole, begin = Sum(), first
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[Sum]] = set()
        while running or whole.deployments < deployments:
            while whole.deployments < deployments and len(running) < processes:
                running.add(pool.submit(several, range(begin, begin + TOGETHER)))
                begin += TOGETHER
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                whole.add(each.result())
            told(whole)
    return whole
