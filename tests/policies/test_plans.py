"""Plans are decided, never guessed: what each policy does with which fleet, and what no plan may ever do."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.policies import all_at_once, capacity, rollback, rolling
from beanpole.policies.change import Member, Rules, Target, batches, floor
from beanpole.policies.plan import (
    Activate,
    Drain,
    Exclude,
    Fetch,
    Finish,
    Gate,
    Launch,
    Once,
    Plan,
    Preflight,
    Prepare,
    Register,
    Terminate,
    UnknownPlan,
    decode,
    encode,
)

pytestmark = pytest.mark.pure

OLD, NEW = "0ld", "n3w"


def fleet(count: int, digest: str | None = OLD) -> tuple[Member, ...]:
    return tuple(Member(f"i-{number}", digest) for number in range(count))


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


fleets = st.integers(1, 30).map(fleet)
rules = st.builds(Rules, batch_size=st.integers(1, 100), batch_is_percentage=st.booleans())
targets = st.builds(
    Target, st.just(NEW), once=st.booleans(), stop_first=st.sampled_from([None, "it listens on port 8000"])
)
planned = st.sampled_from([all_at_once.plan, rolling.plan])


@pytest.mark.parametrize(
    ("count", "size", "percentage", "sizes"),
    [
        (3, 30, True, [1, 1, 1]),  # what the EB CLI sets; rounded down, at least one
        (10, 30, True, [3, 3, 3, 1]),
        (3, 100, True, [3]),
        (4, 3, False, [3, 1]),
        (2, 5, False, [2]),
        (1, 1, True, [1]),
    ],
)
def test_batches_are_rounded_down_to_at_least_one(count: int, size: int, percentage: bool, sizes: list[int]) -> None:
    found = batches(fleet(count), Rules(batch_size=size, batch_is_percentage=percentage))
    assert [len(batch) for batch in found] == sizes


@given(planned, fleets, targets, rules)
def test_everything_is_fetched_everywhere_before_anything_is_switched_anywhere(policy, members, target, given_rules):
    plan = policy(members, target, given_rules)
    first_switch = kinds(plan).index(Activate)
    fetched = {slot for step in plan.steps[:first_switch] if isinstance(step, Fetch) for slot in step.slots}
    assert fetched == {member.id for member in members}


@given(planned, fleets, targets, rules)
def test_each_instance_goes_through_each_stage_exactly_once_and_in_order(policy, members, target, given_rules):
    plan = policy(members, target, given_rules)
    for member in members:
        own = [type(step) for step in plan.steps if member.id in step.slots and not isinstance(step, Once)]
        assert own == [Preflight, Fetch, Prepare, Activate, Gate, Finish, Drain]


@given(planned, fleets, targets, rules)
def test_leader_only_work_runs_once_and_after_fetch(policy, members, target, given_rules):
    plan = policy(members, target, given_rules)
    leaders = [step for step in plan.steps if isinstance(step, Once)]
    assert [len(step.slots) for step in leaders] == ([1] if target.once else [])
    if leaders:
        assert kinds(plan).index(Fetch) < kinds(plan).index(Once) < kinds(plan).index(Prepare)


@given(planned, fleets, targets, rules)
def test_keys_are_unique_and_a_plan_survives_being_stored(policy, members, target, given_rules):
    plan = policy(members, target, given_rules)
    keys = [step.key for step in plan.steps]
    assert len(keys) == len(set(keys))
    assert decode(encode(plan)) == plan


@given(planned, st.integers(2, 30).map(fleet), rules)
def test_stop_first_never_takes_all_instances_at_once_while_there_are_others(policy, members, given_rules):
    target = Target(NEW, stop_first="the web process listens on port 8000 whatever PORT says")
    plan = policy(members, target, given_rules)
    widest = max(len(step.slots) for step in plan.steps if isinstance(step, Activate))
    if policy is all_at_once.plan:
        assert widest < len(members)
    assert plan.downtime is (widest == len(members))
    assert any("port 8000" in note for note in plan.notes)


def test_stop_first_on_one_instance_announces_the_downtime():
    plan = all_at_once.plan(fleet(1), Target(NEW, stop_first="it has a fixed port"), Rules())
    assert plan.downtime
    assert "requests fail until" in plan.notes[0]


@given(st.lists(st.sampled_from([None, OLD, NEW]), min_size=1, max_size=12))
def test_the_way_back_moves_exactly_those_that_are_astray(digests):
    members = tuple(Member(f"i-{number}", digest) for number, digest in enumerate(digests))
    plan = rollback.plan(members, (), Target(OLD, prepare=False))
    moved = [slot for step in plan.steps if isinstance(step, Activate) for slot in step.slots]
    assert moved == [member.id for member in members if member.digest != OLD]
    assert not {Fetch, Once, Prepare, Preflight} & set(kinds(plan))


@given(st.lists(st.sampled_from([None, OLD, NEW]), min_size=1, max_size=12), st.data())
def test_the_way_back_touches_nothing_on_instances_where_nothing_was_started(digests, data):
    members = tuple(Member(f"i-{number}", digest) for number, digest in enumerate(digests))
    touched = frozenset(data.draw(st.sets(st.sampled_from([member.id for member in members]))))
    plan = rollback.plan(members, (), Target(OLD, prepare=False), touched=touched)
    concerned = {slot for step in plan.steps for slot in step.slots}
    assert concerned == touched | {member.id for member in members if member.digest != OLD}


def test_the_former_health_check_comes_back_after_the_release_and_before_anything_is_stopped():
    members = (Member("i-1", NEW), Member("i-2", OLD))
    plan = rollback.plan(members, (), Target(OLD, prepare=False), touched=frozenset({"i-1"}), checks=True)
    assert [type(step) for step in plan.steps] == [Activate, Gate, Finish, Register, Drain]
    assert next(step for step in plan.steps if isinstance(step, Register)).slots == ("i-1", "i-2")


def test_the_way_back_of_a_stop_first_release_starts_with_the_dead_and_keeps_half_of_the_living():
    members = (Member("i-dead", None), Member("i-1", NEW), Member("i-2", NEW), Member("i-3", NEW))
    plan = rollback.plan(members, (), Target(OLD, prepare=False, stop_first="fixed port"))
    groups = [step.slots for step in plan.steps if isinstance(step, Activate)]
    assert groups == [("i-dead",), ("i-1", "i-2"), ("i-3",)]


def test_instances_that_the_operation_launched_go_away_on_the_way_back():
    members = (Member("i-old", OLD), Member("i-fresh", NEW))
    plan = rollback.plan(members, ("i-fresh",), Target(OLD, prepare=False))
    assert [step.slots for step in plan.steps if isinstance(step, Terminate)] == [("i-fresh",)]
    assert not any("i-fresh" in step.slots for step in plan.steps if isinstance(step, Activate))


def test_without_a_release_to_go_back_to_instances_stay_for_a_look():
    assert rollback.plan((Member("i-1", None),), ("i-1",), None).steps == ()


def test_growing_launches_and_brings_the_release():
    steps = capacity.grow(2, Target(NEW, once=True))
    assert [type(step) for step in steps] == [Launch, Preflight, Fetch, Once, Prepare, Activate, Gate, Finish]
    assert all(set(step.slots) <= {"new-1", "new-2"} for step in steps)


def test_shrinking_takes_those_that_serve_nothing_first_then_the_newest():
    members = (Member("i-1", OLD), Member("i-2", None), Member("i-3", OLD), Member("i-4", OLD))
    assert capacity.shrink(members, 2)[0].slots == ("i-2", "i-4")


@pytest.mark.parametrize(
    "text", ['{"policy":"Rolling","steps":[],"schema":99}', '{"steps":[{"kind":"Teleport"}]}', "x"]
)
def test_a_plan_of_another_version_is_not_guessed_at(text):
    with pytest.raises(UnknownPlan):
        decode(text)


def silent(count: int, numbers: set[int], digest: str | None = OLD) -> tuple[Member, ...]:
    return tuple(Member(f"i-{number}", digest, reachable=number not in numbers) for number in range(count))


partly_silent = st.integers(1, 30).flatmap(
    lambda count: st.sets(st.integers(0, count - 1)).map(lambda numbers: silent(count, numbers))
)


@given(planned, partly_silent, targets, rules)
def test_what_cannot_be_reached_is_asked_nothing_while_enough_others_can(
    policy: Callable[[tuple[Member, ...], Target, Rules], Plan],
    members: tuple[Member, ...],
    target: Target,
    how: Rules,
) -> None:
    plan = policy(members, target, how)
    away = {member.id for member in members if not member.reachable}
    asked = {slot for step in plan.steps if not isinstance(step, Exclude) for slot in step.slots}
    excluded = [slot for step in plan.steps if isinstance(step, Exclude) for slot in step.slots]
    if len(members) - len(away) >= floor(len(members)):
        assert asked == {member.id for member in members} - away
        assert set(excluded) == away
        assert all(name in " ".join(plan.notes) for name in away)
    else:
        assert asked == {member.id for member in members}
        assert not excluded


def test_the_others_are_over_before_it_leaves_rotation() -> None:
    plan = rolling.plan(silent(5, {1}), Target(NEW), Rules(batch_size=1, batch_is_percentage=False))
    assert kinds(plan)[-3:] == [Finish, Exclude, Drain]


def test_one_that_serves_the_target_already_stays_in_rotation() -> None:
    members = (*fleet(2), Member("i-2", NEW, reachable=False))
    assert Exclude not in kinds(all_at_once.plan(members, Target(NEW), Rules()))


@pytest.mark.parametrize(("count", "wanted"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_half_of_the_fleet_has_to_be_reached(count: int, wanted: int) -> None:
    assert floor(count) == wanted


def test_the_way_back_asks_nothing_of_what_cannot_be_reached() -> None:
    members = silent(4, {0, 3}, NEW)
    plan = rollback.plan(members, (), Target(OLD, prepare=False), touched=frozenset({"i-0", "i-1"}), checks=True)
    asked = {slot for step in plan.steps if not isinstance(step, Exclude) for slot in step.slots}
    assert asked == {"i-1", "i-2"}
    assert [step.slots for step in plan.steps if isinstance(step, Exclude)] == [("i-0", "i-3")]


def test_what_cannot_be_reached_leaves_first() -> None:
    steps = capacity.shrink(silent(3, {0}), 1)
    assert steps[0].slots == ("i-0",)
