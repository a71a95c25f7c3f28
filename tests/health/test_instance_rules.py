"""The health of one instance: each cause with its exact words, each threshold from both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.health.rules.facts import (
    Checked,
    Completed,
    Cpu,
    Deployment,
    InstanceFacts,
    Service,
    Traffic,
    Work,
)
from beanpole.health.rules.instance import instance_health
from beanpole.health.rules.status import rank

pytestmark = pytest.mark.pure

NOW = 1_800_000_000.0
V1, V2 = Deployment(1, "v1"), Deployment(2, "v2")
WEB = Service("web", running=True)


def facts(**changes: object) -> InstanceFacts:
    well = {"first_looked": NOW - 9000, "seen_at": NOW, "services": (WEB,), "expected": V1, "serving": V1}
    return InstanceFacts(**(well | changes))


def down(**changes: object) -> tuple[Service, ...]:
    return (Service("web", running=False, **changes),)


@pytest.mark.parametrize(
    ("changes", "status", "causes"),
    [
        ({}, "Ok", []),
        # Silence
        ({"seen_at": NOW - 29}, "Ok", []),
        ({"seen_at": NOW - 30, "services": None}, "NoData", ["No data. Last seen 30 seconds ago."]),
        ({"seen_at": NOW - 2220, "services": None}, "Severe", ["No data. Last seen 37 minutes ago."]),
        ({"seen_at": None, "first_looked": NOW - 5, "services": None}, "Unknown", ["Waiting for the first report."]),
        ({"seen_at": None, "first_looked": NOW - 31, "services": None}, "NoData", ["No data."]),
        ({"seen_at": None, "first_looked": NOW - 300, "services": None}, "Severe", ["No data."]),
        # Processes
        ({"services": down()}, "Severe", ["Following services are not running: web."]),
        (
            {"services": down(last_exit="exit status 3")},
            "Severe",
            ["Following services are not running: web (exit status 3)."],
        ),
        (
            {"services": (WEB, Service("mailer", running=False, last_exit="signal SIGKILL"))},
            "Degraded",
            ["Following services are not running: mailer (signal SIGKILL)."],
        ),
        (
            {"services": (Service("web", True, 1, "exit status 1"),)},
            "Warning",
            ["Process web was restarted 1 time in the last minute (exit status 1)."],
        ),
        (
            {"services": (Service("web", True, 3, "unknown"),)},
            "Degraded",
            ["Process web was restarted 3 times in the last minute (unknown)."],
        ),
        # The balancer
        ({"checked": Checked("healthy", NOW - 9000)}, "Ok", []),
        ({"checked": Checked("unhealthy", NOW)}, "Degraded", ["ELB health check has been failing for 1 second."]),
        (
            {"checked": Checked("unhealthy", NOW - 299)},
            "Degraded",
            ["ELB health check has been failing for 4 minutes."],
        ),
        (
            {"checked": Checked("unhealthy", NOW - 300)},
            "Severe",
            ["ELB health check has been failing for 5 minutes."],
        ),
        ({"checked": Checked("missing", NOW - 59)}, "Ok", []),
        (
            {"checked": Checked("missing", NOW - 60)},
            "Warning",
            ["Instance ELB health has not been available for 60 seconds."],
        ),
        (
            {"checked": Checked("missing", NOW - 2220)},
            "Severe",
            ["Instance ELB health has not been available for 37 minutes."],
        ),
        # Requests
        ({"traffic": Traffic(1000, status_5xx=9)}, "Ok", []),
        (
            {"traffic": Traffic(1000, status_5xx=10)},
            "Warning",
            ["1.0 % of the requests are failing with HTTP 5xx."],
        ),
        (
            {"traffic": Traffic(1000, status_5xx=199)},
            "Degraded",
            ["19.9 % of the requests are failing with HTTP 5xx."],
        ),
        (
            {"traffic": Traffic(10, status_5xx=10)},
            "Severe",
            ["100.0 % of the requests are failing with HTTP 5xx."],
        ),
        ({"traffic": Traffic(9, status_5xx=9)}, "Ok", []),
        ({"traffic": Traffic(100, status_4xx=9)}, "Ok", []),
        (
            {"traffic": Traffic(100, status_4xx=15)},
            "Warning",
            ["15.0 % of the requests are erroring with HTTP 4xx."],
        ),
        (
            {"traffic": Traffic(7, status_4xx=6, status_5xx=0), "judge_4xx": True},
            "Ok",
            [],
        ),
        (
            {"traffic": Traffic(70, status_4xx=60)},
            "Severe",
            ["85.7 % of the requests are erroring with HTTP 4xx."],
        ),
        ({"traffic": Traffic(70, status_4xx=60), "judge_4xx": False}, "Ok", []),
        (
            {"traffic": Traffic(100, cut=2)},
            "Warning",
            ["2.0 % of the requests are cut off before their answer is complete."],
        ),
        # The CPU
        ({"cpu": Cpu(89.9)}, "Ok", []),
        ({"cpu": Cpu(93.4)}, "Warning", ["93 % of CPU is in use."]),
        ({"cpu": Cpu(95.0)}, "Degraded", ["95 % of CPU is in use."]),
        ({"cpu": Cpu(100.0)}, "Degraded", ["100 % of CPU is in use."]),
        ({"cpu": Cpu(94.0, iowait=52.0)}, "Warning", ["94 % of CPU is in use. 52 % in I/O wait"]),
        # The version
        (
            {"serving": V2},
            "Degraded",
            ['Incorrect application version "v2" (deployment 2). Expected version "v1" (deployment 1).'],
        ),
        (
            {"serving": None},
            "Severe",
            ['Incorrect application version n/a. Expected version "v1" (deployment 1).'],
        ),
        ({"serving": V2, "expected": None}, "Ok", []),
        ({"failed_to_initialize": True, "expected": None}, "Degraded", ["Instance initialization failed."]),
        # Operations
        (
            {"work": Work("initialization", NOW - 12, fresh=True), "seen_at": None, "services": None},
            "Pending",
            ["Performing initialization (running for 12 seconds)."],
        ),
        (
            {"work": Work("deployment", NOW - 3)},
            "Info",
            ["Performing application deployment (running for 3 seconds)."],
        ),
        (
            {"work": Work("configuration", NOW - 180)},
            "Info",
            ["Performing configuration update (running for 3 minutes)."],
        ),
        (
            {"completed": Completed("deployment", NOW - 49, NOW - 23)},
            "Ok",
            ["Application deployment completed 23 seconds ago and took 26 seconds."],
        ),
        (
            {"completed": Completed("initialization", NOW - 326, NOW - 26)},
            "Ok",
            ["Initialization completed 26 seconds ago and took 5 minutes."],
        ),
        ({"completed": Completed("deployment", NOW - 160, NOW - 120)}, "Ok", []),
    ],
)
def test_each_cause(changes: dict[str, object], status: str, causes: list[str]) -> None:
    health = instance_health(facts(**changes), NOW)
    if "work" in changes:  # what is wrong is told after what is being done
        assert (health.status, list(health.causes[:1])) == (status, causes)
    else:
        assert (health.status, list(health.causes)) == (status, causes)


def test_the_worst_cause_comes_first() -> None:
    health = instance_health(facts(cpu=Cpu(93.0), traffic=Traffic(1000, status_5xx=199)), NOW)
    assert health.status == "Degraded"
    assert health.causes == ("19.9 % of the requests are failing with HTTP 5xx.", "93 % of CPU is in use.")


def test_failing_checks_under_an_operation_are_told_but_do_not_count() -> None:
    health = instance_health(facts(work=Work("deployment", NOW - 3), services=down(last_exit="exit status 1")), NOW)
    assert health.status == "Info"
    assert health.causes == (
        "Performing application deployment (running for 3 seconds).",
        "Following services are not running: web (exit status 1).",
    )
    assert health.problems == ()


def test_success_is_not_mentioned_beside_trouble() -> None:
    health = instance_health(facts(services=down(), completed=Completed("deployment", NOW - 49, NOW - 23)), NOW)
    assert health.causes == ("Following services are not running: web.",)


requests = st.integers(0, 2000)
traffics = st.builds(
    lambda good, s4, s5: Traffic(good + s4 + s5, status_4xx=s4, status_5xx=s5), requests, requests, requests
)
checks = st.none() | st.builds(
    Checked, st.sampled_from(["healthy", "unhealthy", "missing"]), st.floats(NOW - 1000, NOW)
)
any_facts = st.builds(
    facts,
    seen_at=st.none() | st.floats(NOW - 1000, NOW),
    checked=checks,
    traffic=st.none() | traffics,
    cpu=st.none() | st.builds(Cpu, st.floats(0, 100), st.floats(0, 100)),
    serving=st.sampled_from([V1, V2, None]),
)


@given(any_facts)
def test_what_is_not_well_has_a_reason_and_is_as_bad_as_its_worst(found: InstanceFacts) -> None:
    health = instance_health(found, NOW)
    if health.status == "Ok":
        assert not health.problems
    else:
        assert health.causes
        assert rank(health.status) == max(rank(problem.status) for problem in health.problems)


@given(any_facts, st.integers(0, 500))
def test_more_failing_requests_never_make_it_better(found: InstanceFacts, more: int) -> None:
    few = found.traffic or Traffic()
    many = Traffic(few.requests + more, few.status_4xx, few.status_5xx + more, few.cut)
    before = instance_health(facts(traffic=few, judge_4xx=False), NOW)
    after = instance_health(facts(traffic=many, judge_4xx=False), NOW)
    assert rank(after.status) >= rank(before.status)


@given(any_facts, st.booleans())
def test_an_operation_hides_every_status(found: InstanceFacts, fresh: bool) -> None:
    changed = InstanceFacts(
        **{name: getattr(found, name) for name in found.__struct_fields__ if name != "work"},
        work=Work("deployment", NOW, fresh),
    )
    assert instance_health(changed, NOW).status == ("Pending" if fresh else "Info")
