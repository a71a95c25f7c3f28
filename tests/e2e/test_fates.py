"""What can become of a deployment, by policies that launch instances and by those that do not: see fates.py.

A selection on this machine, of what no other test shows; all of it, on servers too, is `make reliability`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fates import fate_named
from policy_trial import PolicyTrial
from rig import LocalRig
from stories import shared_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.deep,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("fates"),
]

SELECTED = (
    ("AllAtOnce", "host-lost"),
    ("Immutable", "host-lost"),
    ("RollingWithAdditionalBatch", "control"),
    ("RollingWithAdditionalBatch", "abort"),
    ("Immutable", "postdeploy"),
    ("TrafficSplitting", "turns-bad"),
)


@pytest.fixture(scope="module")
def trial() -> Iterator[PolicyTrial]:
    with shared_site() as site:
        made = PolicyTrial(LocalRig(site), rate=100.0)
        made.begin()
        yield made


@pytest.mark.parametrize(("policy", "fate"), SELECTED)
def test_a_deployment(trial: PolicyTrial, policy: str, fate: str) -> None:
    row = trial.run(policy, fate_named(fate))
    assert not row.problems, "\n".join([*row.problems, *row.events])
