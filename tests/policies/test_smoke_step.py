"""Where in a plan the smoke tests are: said before they are made, and made while the way back is short."""

from __future__ import annotations

import pytest

from beanpole.policies import all_at_once, capacity, rolling
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.plan import Activate, Plan, decode, encode
from beanpole.policies.smoke import with_smoke

pytestmark = pytest.mark.pure

FLEET = tuple(Member(f"i-{at}", "old") for at in range(3))
ONE = Rules(policy="Rolling", batch_size=1, batch_is_percentage=False)
TESTS = ["GET /health 200", "GET /version 200"]


def kinds(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in plan.steps]


def test_the_balancer_is_asked_after_the_last_batch_and_before_the_old_release_stops() -> None:
    plan = with_smoke(rolling.plan(FLEET, Target("new"), ONE), TESTS)
    assert kinds(plan)[-3:] == ["Finish", "Smoke", "Drain"]
    assert kinds(plan).count("Smoke") == 1
    assert plan.steps[-2].words == "Smoke tests through the balancer: GET /health 200, GET /version 200"
    started = [step.words for step in plan.steps if isinstance(step, Activate)]
    assert all(words.endswith(", 2 smoke tests before it gets requests") for words in started)
    assert decode(encode(plan)) == plan


def test_what_cannot_be_reached_is_out_of_rotation_before_the_balancer_is_asked() -> None:
    """Else the old release there could answer, and the new one would be blamed for it."""
    away = Member("i-away", "old", reachable=False)
    plan = with_smoke(rolling.plan((*FLEET, away), Target("new"), ONE), TESTS)
    assert kinds(plan)[-4:] == ["Finish", "Exclude", "Smoke", "Drain"]


def test_a_creation_ends_with_them() -> None:
    plan = with_smoke(Plan(policy="AllAtOnce", steps=tuple(capacity.grow(2, Target("new")))), TESTS)
    assert kinds(plan)[-1] == "Smoke"
    assert plan.steps[-1].slots == ("new-1",)


def test_many_are_counted() -> None:
    plan = with_smoke(all_at_once.plan(FLEET, Target("new"), Rules()), [f"GET /{at} 200" for at in range(7)])
    assert "GET /3 200 and 3 more" in plan.steps[-2].words


def test_without_tests_or_without_a_start_the_plan_stays() -> None:
    plan = all_at_once.plan(FLEET, Target("new"), Rules())
    assert with_smoke(plan, []) is plan
    shrinking = Plan(policy="AllAtOnce", steps=tuple(capacity.shrink(FLEET, 1)))
    assert with_smoke(shrinking, TESTS) is shrinking
