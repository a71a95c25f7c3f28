"""The health of an environment: every sentence, the documented cases, and what holds whatever the instances are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.health.rules.environment import environment_health
from beanpole.health.rules.facts import (
    Activity,
    Completed,
    Deployment,
    EnvironmentFacts,
    InstanceHealth,
    Member,
    Problem,
    ProblemKind,
    Traffic,
)
from beanpole.health.rules.status import Status, rank

pytestmark = pytest.mark.pure

NOW = 1_800_000_000.0
OK = Member(InstanceHealth("Ok"))


def bad(kind: ProblemKind, status: Status, failed: int = 3) -> Member:
    return Member(InstanceHealth(status, ("…",), (Problem(kind, status, "…"),)), failed)


def facts(*members: Member, **changes: object) -> EnvironmentFacts:
    well = {"desired": len(members), "minimum": 1, "expected": Deployment(1, "v1")}
    return EnvironmentFacts(members=members, **(well | changes))


def activity(kind: str, **changes: int) -> Activity:
    return Activity(kind, NOW - 19, NOW + 600, **changes)


VERSIONS = 'Expected version "v1" (deployment 1).'


@pytest.mark.parametrize(
    ("found", "status", "causes"),
    [
        (facts(OK), "Ok", []),
        # Capacity
        (facts(desired=1), "Severe", ["There are no instances. Auto Scaling group desired capacity is set to 1."]),
        (
            facts(OK, OK, OK, OK, minimum=5),
            "Degraded",
            ["4 active instances is below Auto Scaling group minimum size 5."],
        ),
        # Instances in trouble
        (facts(OK, OK, OK, OK, bad("process", "Severe")), "Warning", ["Impaired services on 1 out of 5 instances."]),
        (facts(bad("process", "Severe")), "Severe", ["Impaired services on all instances."]),
        (facts(*[OK] * 9, bad("cpu", "Warning")), "Ok", ["Impaired services on 1 out of 10 instances."]),
        (facts(OK, bad("cpu", "Warning")), "Warning", ["Impaired services on 1 out of 2 instances."]),
        (
            facts(OK, bad("unhealthy", "Degraded")),
            "Degraded",
            ["ELB processes are not healthy on 1 out of 2 instances."],
        ),
        (facts(OK, bad("unhealthy", "Severe")), "Severe", ["ELB processes are not healthy on 1 out of 2 instances."]),
        (
            facts(bad("unhealthy", "Degraded"), bad("unhealthy", "Degraded")),
            "Severe",
            ["ELB processes are not healthy on all instances."],
        ),
        (
            facts(bad("unchecked", "Warning"), bad("unchecked", "Warning")),
            "Warning",
            ["ELB health is failing or not available for all instances."],
        ),
        (
            facts(bad("silence", "NoData"), bad("silence", "NoData")),
            "Severe",
            ["None of the instances are sending data."],
        ),
        (facts(OK, bad("silence", "NoData")), "Warning", ["No data received from 1 out of 2 instances."]),
        (
            facts(OK, bad("process", "Severe"), *[bad("version", "Degraded")] * 3),
            "Degraded",
            [
                f"Incorrect application version found on 3 out of 5 instances. {VERSIONS}",
                "Impaired services on 1 out of 5 instances.",
            ],
        ),
        (
            facts(bad("version", "Degraded")),
            "Degraded",
            [f"Incorrect application version found on all instances. {VERSIONS}"],
        ),
        (
            facts(bad("initialization", "Degraded"), expected=None),
            "Degraded",
            ["Instance initialization failed on all instances."],
        ),
        (facts(bad("process", "Severe", failed=2)), "Ok", []),
        # Two troubles of an eighth each are a quarter together.
        (
            facts(*[OK] * 6, bad("process", "Degraded"), bad("version", "Degraded")),
            "Degraded",
            [
                f"Incorrect application version found on 1 out of 8 instances. {VERSIONS}",
                "Impaired services on 1 out of 8 instances.",
            ],
        ),
        # Requests
        (
            facts(OK, application=Traffic(100, status_4xx=5), balancer=Traffic(100, status_4xx=5)),
            "Ok",
            [],
        ),
        (
            facts(OK, OK, application=Traffic(100, status_5xx=50), balancer=Traffic(100, status_5xx=50)),
            "Severe",
            ["50.0 % of the requests are failing with HTTP 5xx."],
        ),
        (
            facts(OK, application=Traffic(97), balancer=Traffic(100, status_5xx=3)),
            "Warning",
            ["3.0 % of the requests to the ELB are failing with HTTP 5xx."],
        ),
        (
            facts(OK, application=Traffic(80), balancer=Traffic(100, status_4xx=20)),
            "Warning",
            ["20.0 % of the requests to the ELB are erroring with HTTP 4xx."],
        ),
        (
            facts(OK, application=Traffic(80), balancer=Traffic(100, status_4xx=20), judge_balancer_4xx=False),
            "Ok",
            [],
        ),
        (
            facts(OK, application=Traffic(6, status_4xx=6), balancer=Traffic(6, status_4xx=6)),
            "Ok",
            ["Insufficient request rate (6.0 requests/min) to determine application health."],
        ),
        (facts(OK, application=Traffic(6), balancer=Traffic(6)), "Ok", []),
        # Nothing known yet
        (facts(Member(InstanceHealth("Unknown"))), "Unknown", []),
        (facts(Member(InstanceHealth("Pending")), minimum=0), "Pending", []),
        # Operations
        (
            facts(desired=1, activity=Activity("initialization", NOW - 3, NOW + 600)),
            "Pending",
            ["Initialization in progress (running for 3 seconds). There are no instances."],
        ),
        (
            facts(OK, activity=activity("deployment", busy=1, total=1)),
            "Info",
            ["Application update in progress on 1 instance. 0 out of 1 instance completed (running for 19 seconds)."],
        ),
        (
            facts(OK, OK, activity=activity("configuration", busy=1, done=1, total=2)),
            "Info",
            [
                "Configuration update in progress on 1 instance. "
                "1 out of 2 instances completed (running for 19 seconds).",
            ],
        ),
        (
            facts(OK, activity=Activity("configuration", NOW - 7, NOW + 600)),
            "Info",
            ["Configuration update in progress (running for 7 seconds)."],
        ),
        (
            facts(OK, activity=Activity("restart", NOW - 69, NOW + 600)),
            "Info",
            ["Application restart in progress (running for 69 seconds)."],
        ),
        (
            facts(OK, activity=Activity("deployment", NOW - 840, NOW - 1)),
            "Warning",
            ["Application update in progress (running for 14 minutes)."],
        ),
        (
            facts(OK, completed=Completed("initialization", NOW - 326, NOW - 26)),
            "Ok",
            ["Initialization completed 26 seconds ago and took 5 minutes."],
        ),
        (
            facts(OK, completed=Completed("deployment", NOW - 94, NOW - 66)),
            "Ok",
            ["Application update completed 66 seconds ago and took 28 seconds."],
        ),
    ],
)
def test_each_cause(found: EnvironmentFacts, status: str, causes: list[str]) -> None:
    health = environment_health(found, NOW)
    assert (health.status, list(health.causes)) == (status, causes)


def test_trouble_during_an_operation_is_told_but_does_not_count() -> None:
    found = facts(OK, bad("process", "Severe"), activity=activity("deployment", busy=1, total=2))
    health = environment_health(found, NOW)
    assert health.status == "Info"
    assert health.causes[1:] == ("Impaired services on 1 out of 2 instances.",)


def test_trouble_counts_again_when_the_operation_overruns() -> None:
    found = facts(bad("process", "Severe"), activity=Activity("deployment", NOW - 840, NOW - 1))
    assert environment_health(found, NOW).status == "Severe"


_TROUBLE = {"Warning": "cpu", "Degraded": "version", "Severe": "process", "NoData": "silence"}
statuses = st.sampled_from(["Ok", "Warning", "Degraded", "Severe"])
fleets = st.lists(statuses, min_size=1, max_size=12)


def fleet(of: list[Status]) -> EnvironmentFacts:
    return facts(*(OK if status == "Ok" else bad(_TROUBLE[status], status) for status in of))


@given(fleets)
def test_never_better_than_its_instances_demand(of: list[Status]) -> None:
    status = environment_health(fleet(of), NOW).status
    severe, degraded = of.count("Severe"), of.count("Severe") + of.count("Degraded")
    if 2 * severe >= len(of):
        assert status == "Severe"
    if degraded:
        assert rank(status) >= rank("Warning")
    if 4 * degraded >= len(of):
        assert rank(status) >= rank("Degraded")


@given(fleets)
def test_never_worse_than_its_worst_instance(of: list[Status]) -> None:
    assert rank(environment_health(fleet(of), NOW).status) <= max(map(rank, of))


@given(fleets, st.data())
def test_an_instance_that_gets_worse_never_makes_it_better(of: list[Status], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(of) - 1))
    worse = data.draw(statuses.filter(lambda status: rank(status) >= rank(of[at])))
    after = [*of[:at], worse, *of[at + 1 :]]
    assert rank(environment_health(fleet(after), NOW).status) >= rank(environment_health(fleet(of), NOW).status)


@given(fleets)
def test_trouble_is_always_explained(of: list[Status]) -> None:
    health = environment_health(fleet(of), NOW)
    assert bool(health.causes) == any(status != "Ok" for status in of)


@given(fleets, st.sampled_from(["deployment", "configuration", "restart", "termination", "initialization"]))
def test_nothing_shows_within_the_limit_of_an_operation(of: list[Status], kind: str) -> None:
    found = fleet(of)
    during = facts(*found.members, activity=activity(kind, busy=1, total=len(of)))
    assert environment_health(during, NOW).status == ("Pending" if kind == "initialization" else "Info")
