"""Where an operation is, read from its plan and journal."""

import pytest

from beanpole.health.activity import Place, places, work_kind
from beanpole.policies import capacity, deployment, rolling
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.plan import Plan

pytestmark = pytest.mark.pure

TARGET = Target("d2")
FLEET = (Member("i-1", "d1"), Member("i-2", "d1"))
ROLLING = rolling.plan(FLEET, TARGET, Rules("Rolling", 1, batch_is_percentage=False))


def of(plan: Plan, *keys: str, bound: dict[str, str] | None = None, phase: str = "forward") -> dict[str, str]:
    found = places(plan, phase, dict.fromkeys(keys), bound or {})
    return {instance: place.stage for instance, place in found.items()}


def test_fetching_is_not_work_on_an_instance() -> None:
    begun = ["forward/preflight/begin", "forward/preflight/i-1", "forward/fetch/begin", "forward/fetch/i-1"]
    assert of(ROLLING, *begun) == {"i-1": "waiting", "i-2": "waiting"}


def test_one_batch_after_the_other() -> None:
    steps = ["prepare-1", "activate-1", "gate-1", "finish-1"]
    first = [key for step in steps for key in (f"forward/{step}/begin", f"forward/{step}/i-1")]
    assert of(ROLLING, *first[:1]) == {"i-1": "busy", "i-2": "waiting"}
    assert of(ROLLING, *first[:-1]) == {"i-1": "busy", "i-2": "waiting"}
    assert of(ROLLING, *first) == {"i-1": "done", "i-2": "waiting"}
    assert of(ROLLING, *first, "forward/prepare-2/begin", "forward/drain/begin") == {"i-1": "done", "i-2": "busy"}


def test_slots_become_instances_when_they_are_bound() -> None:
    plan = Plan(policy="AllAtOnce", steps=tuple(capacity.grow(2, TARGET)))
    found = places(plan, "forward", {"forward/launch/begin": None}, {"new-1": "i-7"})
    assert found == {"i-7": Place("busy", fresh=True), "new-2": Place("busy", fresh=False)}


def test_the_way_back_has_a_journal_of_its_own() -> None:
    plan = Plan(policy="Rollback", steps=tuple(deployment.batch(1, 1, ("i-1",), TARGET)))
    assert of(plan, "forward/activate-1/begin", phase="return") == {"i-1": "waiting"}
    assert of(plan, "return/activate-1/begin", phase="return") == {"i-1": "busy"}


@pytest.mark.parametrize(
    ("kind", "new_version", "found"),
    [
        ("create", True, "initialization"),
        ("update", True, "deployment"),
        ("update", False, "configuration"),
        ("rollback", False, "deployment"),
        ("restart", False, "restart"),
        ("terminate", False, "termination"),
    ],
)
def test_kinds(kind: str, new_version: bool, found: str) -> None:
    assert work_kind(kind, new_version=new_version) == found
