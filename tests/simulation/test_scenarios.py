"""Scenarios as hypothesis thinks of them, so that one that breaks a promise shrinks to what matters in it."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beanpole.simulation.run import run
from beanpole.simulation.scenario import ELSEWHERE, ON_INSTANCES, Command, Fault, Scenario
from beanpole.simulation.version import Version

times = st.floats(0.0, 12.0).map(lambda at: round(at, 2))
versions = st.builds(
    Version,
    boot=st.sampled_from((0.2, 1.0, 2.0)),
    flaw=st.sampled_from(("", "start", "gate", "later", "prepare", "once")),
    leader=st.just(True),
    port=st.sampled_from((None, None, 8000)),
)
commands = st.builds(
    Command,
    kind=st.sampled_from(("deploy", "scale", "rollback", "abort", "terminate")),
    at=st.one_of(st.none(), times),
    number=st.integers(1, 3),
)
faults = st.builds(
    Fault,
    kind=st.sampled_from((*ON_INSTANCES, *ELSEWHERE)),
    at=times,
    lasts=st.sampled_from((0.5, 3.0, 16.0, 40.0)),
    target=st.integers(0, 3),
    amount=st.sampled_from((0.5, 3.0)),
    what=st.sampled_from(("begin", "commit", "answer")),
)
scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 1000),
    instances=st.integers(1, 4),
    policy=st.sampled_from(("Rolling", "AllAtOnce", "RollingWithAdditionalBatch", "Immutable", "TrafficSplitting")),
    batch=st.integers(1, 3),
    request=st.sampled_from((0.0, 1.5, 4.0)),
    drain=st.sampled_from((0, 2)),
    memory=st.sampled_from((1 << 30, 80 << 20)),
    planes=st.integers(1, 2),
    versions=st.tuples(st.just(Version()), versions, versions),
    commands=st.lists(commands, max_size=2).map(lambda more: (Command("deploy", 1.0, 2), *more)),
    faults=st.lists(faults, max_size=3).map(tuple),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios)
def test_promises_hold(scenario: Scenario) -> None:
    history = run(scenario)
    assert history.broken == [], history.text()
