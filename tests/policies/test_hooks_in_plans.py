"""Which hooks a plan has run on which instances."""

import msgspec
import pytest

from beanpole.policies import (
    all_at_once,
    capacity,
    immutable,
    replacement,
    rollback,
    rolling,
    rolling_with_additional_batch,
    traffic_splitting,
)
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.plan import Finish, Once, Plan, Prepare, decode, encode
from beanpole.policies.replacement import UpdateRules

pytestmark = pytest.mark.pure

FLEET = tuple(Member(f"i-{number}", "0ld") for number in range(3))
SETTINGS = Target("n3w", hooks="confighooks")
VERSION = Target("n3w", once=True, hooks="hooks")


def hooks(plan: Plan) -> dict[str, set[str]]:
    """Kinds that run on each instance, before and after the switch, as a stored plan has them."""
    found: dict[str, set[str]] = {}
    for step in decode(encode(plan)).steps:
        if isinstance(step, Once | Prepare | Finish):
            for slot in step.slots:
                found.setdefault(slot, set()).add(step.hooks)
    return found


@pytest.mark.parametrize("policy", [all_at_once.plan, rolling.plan])
@pytest.mark.parametrize("target", [SETTINGS, VERSION, Target("n3w", once=True)])
def test_instances_that_stay_have_those_of_the_change(policy, target: Target) -> None:
    assert hooks(policy(FLEET, target, Rules())) == {member.id: {target.hooks} for member in FLEET}


@pytest.mark.parametrize("policy", [immutable.plan, traffic_splitting.plan, rolling_with_additional_batch.plan])
def test_new_instances_have_those_of_a_deployment(policy) -> None:
    found = hooks(policy(FLEET, SETTINGS, Rules(), len(FLEET)))
    assert {kind for slot, kinds in found.items() if slot.startswith("new-") for kind in kinds} == {"hooks"}
    assert not any(hooks(policy(FLEET, Target("n3w"), Rules(), len(FLEET)))["new-1"] - {""})


def test_successors_have_those_of_a_deployment() -> None:
    made = replacement.plan(FLEET, SETTINGS, UpdateRules(), goal=3, room=3, why="InstanceType changes")
    assert set().union(*hooks(made).values()) == {"hooks"}


def test_a_way_back_has_none_but_where_the_release_comes_to_a_new_instance() -> None:
    target = Target("0ld", prepare=False, hooks="hooks")
    serving = tuple(Member(f"i-{number}", "n3w") for number in range(2))
    assert hooks(rollback.plan(serving, (), target)) == {"i-0": {""}, "i-1": {""}}
    heirs = (*serving, Member("i-new", "n3w"))
    assert hooks(rollback.plan(heirs, ("i-new",), target, number=3))["i-new"] == {"hooks"}


def test_more_instances_have_those_of_a_deployment() -> None:
    made = Plan(policy="AllAtOnce", steps=tuple(capacity.grow(2, msgspec.structs.replace(VERSION, once=False))))
    assert hooks(made) == {"new-1": {"hooks"}, "new-2": {"hooks"}}
