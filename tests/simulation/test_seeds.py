"""Random scenarios by their seeds: some in every run; ten thousand deployments are `make test-simulated`.

A failure prints what repeats it: `python -m beanpole.simulation --seed N` prints the whole history.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from beanpole.simulation.many import many, one, several
from beanpole.simulation.run import run
from beanpole.simulation.scenario import drawn

TOGETHER = 25
SOME = 100


@pytest.mark.parametrize("begin", range(0, SOME, TOGETHER))
def test_promises_hold_in_some_scenarios(begin: int) -> None:
    assert [(each.command, each.promises) for each in several(range(begin, begin + TOGETHER)).broken] == []


@pytest.mark.long
def test_a_sum_is_the_same_on_however_many_cores() -> None:
    alone, together = several(range(50)), many(1, processes=2)
    assert together.scenarios == 50  # two processes, and as many seeds as each of them is given
    for name in ("deployments", "struck", "outcomes", "felt", "plans", "steps", "canaries"):
        assert getattr(alone, name) == getattr(together, name)


def test_a_broken_seed_is_told_with_the_command_that_repeats_it() -> None:
    history = run(drawn(3))
    history.broken.append("planted")
    (broken,) = one(history).broken
    assert (broken.command, broken.promises) == ("python -m beanpole.simulation --seed 3", ["planted"])


@pytest.mark.long
def test_that_command_prints_the_whole_history() -> None:
    words = [sys.executable, "-m", "beanpole.simulation", "--seed", "3"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert run(drawn(3)).text() in done.stdout
