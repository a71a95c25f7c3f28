"""What a deployment tells: whatever its policy, no sentence twice."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from beanpole.operations.words import begin_events, end_events
from beanpole.policies import all_at_once, immutable, rolling, rolling_with_additional_batch, traffic_splitting
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.plan import Plan

pytestmark = pytest.mark.pure

FLEET = tuple(Member(f"i-{number}", "old") for number in range(3))
TARGET = Target("new")
ONE = Rules(batch_size=1, batch_is_percentage=False)


def plans() -> list[Plan]:
    beside: list[Any] = [rolling_with_additional_batch, immutable, traffic_splitting]
    return [
        all_at_once.plan(FLEET, TARGET, ONE),
        rolling.plan(FLEET, TARGET, ONE),
        *(policy.plan(FLEET, TARGET, ONE, len(FLEET)) for policy in beside),
    ]


@pytest.mark.parametrize("plan", plans(), ids=lambda plan: plan.policy)
def test_nothing_is_told_twice(plan: Plan) -> None:
    update: Any = SimpleNamespace(kind="update")
    told = Counter[str]()
    for step in plan.steps:
        said = [*begin_events(step, list(step.slots), update, plan, new_version=True), *end_events(step, update, plan)]
        told.update(words for words, _ in said)
    assert [words for words, times in told.items() if times > 1] == []
    assert told["Deploying new version to instance(s)."] == 1
