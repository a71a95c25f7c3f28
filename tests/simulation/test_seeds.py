"""Random scenarios by their seeds: some in every run, ten thousand deployments in `make test-deep`.

A failure prints the scenario, the timeline and what was broken; `python -m beanpole.simulation SEED` repeats it.
"""

from __future__ import annotations

import pytest

from beanpole.simulation.run import run
from beanpole.simulation.scenario import drawn

TOGETHER = 50
SOME, MANY = 100, 7000  # the latter are 10,000 operations of users and some more


def broken(begin: int) -> list[str]:
    """The histories in which a promise was broken."""
    histories = (run(drawn(seed)) for seed in range(begin, begin + TOGETHER))
    return [history.text() for history in histories if history.broken]


@pytest.mark.parametrize("begin", range(0, SOME, TOGETHER))
def test_promises_hold_in_some_scenarios(begin: int) -> None:
    assert "\n\n".join(broken(begin)) == ""


@pytest.mark.long
@pytest.mark.deep
@pytest.mark.parametrize("begin", range(SOME, MANY, TOGETHER))
def test_promises_hold_in_ten_thousand_deployments(begin: int) -> None:
    assert "\n\n".join(broken(begin)) == ""
