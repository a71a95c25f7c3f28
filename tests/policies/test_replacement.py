"""Replacing all instances: the arithmetic of rolling updates, and what no plan of them may ever do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.policies import replacement, rollback
from beanpole.policies.change import Member, Target
from beanpole.policies.plan import (
    Activate,
    Fetch,
    Finish,
    Gate,
    Launch,
    Leave,
    Once,
    Pause,
    Plan,
    Preflight,
    Prepare,
    Register,
    Retire,
    Smoke,
    Terminate,
    decode,
    encode,
)
from beanpole.policies.replacement import NoRoom, UpdateRules, batch_size
from beanpole.policies.smoke import with_smoke

pytestmark = pytest.mark.pure

OLD, NEW = "0ld", "n3w"
PLENTY = 1000


def fleet(count: int, digest: str | None = OLD) -> tuple[Member, ...]:
    return tuple(Member(f"i-{number}", digest) for number in range(count))


def planned(count: int, rules: UpdateRules, room: int = PLENTY, *, goal: int = 0, **target: bool) -> Plan:
    wanted = Target(NEW, **target)
    return replacement.plan(fleet(count), wanted, rules, goal=goal or count, room=room, why="InstanceType changes")


@pytest.mark.parametrize(
    ("number", "batch", "in_service", "room", "expected"),
    [
        (6, 2, 4, PLENTY, (2, True)),
        (6, 3, 4, PLENTY, (2, True)),  # the minimum spares two only
        (3, 1, 3, PLENTY, (1, True)),  # it spares none: one more first
        (3, 5, 3, PLENTY, (3, True)),
        (6, 3, 0, 1, (1, True)),  # as many as there is room for
        (6, 2, 4, 0, (2, False)),
        (6, 6, 0, 0, (3, False)),  # never all at once where somebody else can serve
        (1, 1, 0, 0, (1, False)),
        (1, 1, 1, 1, (1, True)),
    ],
)
def test_the_size_of_a_batch(number: int, batch: int, in_service: int, room: int, expected: tuple[int, bool]) -> None:
    assert batch_size(number, UpdateRules(enabled=True, batch=batch, in_service=in_service), room) == expected


@pytest.mark.parametrize(
    ("number", "room", "expected"), [(4, PLENTY, (4, True)), (4, 2, (2, True)), (4, 0, (2, False))]
)
def test_without_rolling_updates_all_go_at_once_where_there_is_room(
    number: int, room: int, expected: tuple[int, bool]
) -> None:
    assert batch_size(number, UpdateRules(batch=1, in_service=number), room) == expected


def test_a_minimum_that_spares_none_needs_room_for_one_more() -> None:
    with pytest.raises(NoRoom) as refused:
        planned(3, UpdateRules(enabled=True, in_service=3), room=0)
    assert "MinInstancesInService (3) lets none of the 3 leave first" in refused.value.cause
    assert refused.value.remedy


numbers = st.integers(1, 20)
rules = st.builds(
    UpdateRules,
    enabled=st.booleans(),
    kind=st.sampled_from(["Time", "Health"]),
    batch=st.integers(1, 25),
    in_service=st.integers(0, 19),
    pause=st.sampled_from([0.0, 30.0]),
    within=st.just(300.0),
)
rooms = st.sampled_from([0, 1, 2, 7, PLENTY])


def replaced(count: int, given_rules: UpdateRules, room: int, more: int = 0) -> Plan | None:
    try:
        return planned(count, given_rules, room, goal=count + more, once=True)
    except NoRoom:
        assert room == 0
        assert given_rules.enabled
        assert given_rules.in_service >= count
        return None


def serving(plan: Plan, count: int) -> list[int]:
    """How many instances get requests after each step that changes it."""
    now, found = count, [count]
    for step in plan.steps:
        if isinstance(step, Activate):
            now += len(step.slots)
        if isinstance(step, Leave | Retire):
            now -= len(step.slots)
        found.append(now)
    return found


@given(numbers, rules, rooms, st.integers(0, 3))
def test_everybody_is_replaced_once_and_the_number_is_right(count, given_rules, room, more):
    plan = replaced(count, given_rules, room, more)
    if plan is None:
        return
    leaving = [slot for step in plan.steps if isinstance(step, Leave | Retire) for slot in step.slots]
    removed = [slot for step in plan.steps if isinstance(step, Terminate | Retire) for slot in step.slots]
    launched = [slot for step in plan.steps if isinstance(step, Launch) for slot in step.slots]
    assert sorted(leaving) == sorted(removed) == sorted(member.id for member in fleet(count))
    assert launched == [f"new-{number}" for number in range(1, count + more + 1)]
    for slot in launched:
        own = [type(step) for step in plan.steps if slot in step.slots and not isinstance(step, Once | Pause)]
        assert own == [Launch, Preflight, Fetch, Prepare, Activate, Gate, Finish]
    assert serving(plan, count)[-1] == count + more


@given(numbers, rules, rooms)
def test_capacity_never_falls_below_what_was_asked_for(count, given_rules, room):
    plan = replaced(count, given_rules, room)
    if plan is None:
        return
    least = min(serving(plan, count))
    if room:
        assert least == count, "successors serve first"
    elif given_rules.enabled:
        assert least >= min(given_rules.in_service, count - 1)
    if count > 1:
        assert least >= count // 2
    assert plan.downtime is (least == 0)


@given(numbers, rules, rooms)
def test_there_is_a_way_back_until_the_last_successors_serve(count, given_rules, room):
    plan = replaced(count, given_rules, room)
    if plan is None:
        return
    retiring = [at for at, step in enumerate(plan.steps) if isinstance(step, Retire)]
    assert retiring == ([len(plan.steps) - 1] if room else [])
    keys = [step.key for step in plan.steps]
    assert len(keys) == len(set(keys))
    assert decode(encode(plan)) == plan


@given(numbers, rules, rooms)
def test_the_leader_is_among_the_first_and_the_clock_runs_between_batches(count, given_rules, room):
    plan = replaced(count, given_rules, room)
    if plan is None:
        return
    assert [step.slots for step in plan.steps if isinstance(step, Once)] == [("new-1",)]
    batches = sum(isinstance(step, Launch) for step in plan.steps)
    waits = given_rules.enabled and given_rules.kind == "Time" and given_rules.pause > 0
    assert sum(isinstance(step, Pause) for step in plan.steps) == (batches - 1 if waits else 0)
    within = {step.within for step in plan.steps if isinstance(step, Gate)}
    assert within == {300.0 if given_rules.enabled and given_rules.kind == "Health" else 0.0}


def test_who_serves_nothing_goes_first() -> None:
    members = (Member("i-well", OLD), Member("i-idle", None), Member("i-silent", OLD, reachable=False))
    plan = replacement.plan(
        members, Target(NEW), UpdateRules(enabled=True), goal=3, room=PLENTY, why="InstanceType changes"
    )
    leaving = [step.slots for step in plan.steps if isinstance(step, Leave | Retire)]
    assert leaving == [("i-silent",), ("i-idle",), ("i-well",)]


def test_a_person_reads_which_change_causes_it_and_what_it_costs() -> None:
    assert planned(4, UpdateRules(enabled=True, batch=2)).notes == (
        "InstanceType changes: all instances are replaced, 2 at a time.",
    )
    assert planned(1, UpdateRules(), room=0).notes == (
        "InstanceType changes: the instance is replaced. There is no room for its successor beside it: requests fail "
        "until that answers.",
    )
    first, last = [step for step in planned(4, UpdateRules(enabled=True, batch=2)).steps if isinstance(step, Launch)]
    assert first.words == "Batch 1 of 2: launch 2 instances to replace i-0, i-1"
    assert first.beside == ("i-0", "i-1", "i-2", "i-3"), "each server may have two until all have left"
    assert last.beside == ("i-2", "i-3")


def test_what_stays_when_nothing_is_taken_back_makes_up_for_what_is_gone() -> None:
    members = (Member("i-2", OLD), Member("i-new1", NEW), Member("i-new2", None))
    assert rollback.surplus(members, ("i-new1", "i-new2"), 2) == ("i-new2",)
    assert rollback.surplus(members, ("i-new1", "i-new2"), 1) == ("i-new1", "i-new2")


def test_smoke_tests_ask_before_the_last_ones_retire() -> None:
    plan = with_smoke(planned(2, UpdateRules()), ["GET /version"])
    assert [type(step) for step in plan.steps][-2:] == [Smoke, Retire]


def test_on_the_way_back_successors_stay_in_the_place_of_those_that_are_gone() -> None:
    members = (Member("i-2", OLD), Member("i-3", OLD), Member("i-new1", NEW), Member("i-new2", NEW))
    plan = rollback.plan(members, ("i-new1", "i-new2"), Target(OLD, prepare=False), number=3)
    own = [type(step) for step in plan.steps if "i-new1" in step.slots]
    assert own[:6] == [Preflight, Fetch, Prepare, Activate, Gate, Finish]
    removed = [step.slots for step in plan.steps if isinstance(step, Terminate)]
    assert removed == [("i-new2",)]
    keys = [step.key for step in plan.steps]
    assert len(keys) == len(set(keys))


STOPPED = Target(OLD, prepare=False, stop_first="fixed port")


def test_on_the_way_back_successors_stop_first_by_halves_and_what_does_not_serve_makes_way() -> None:
    """They did so all at once, which was an outage."""
    names = tuple(f"i-new{at}" for at in range(1, 5))
    members = (*(Member(name, NEW) for name in names[:3]), Member("i-new4", None))
    plan = rollback.plan(members, names, STOPPED, number=4)
    assert [step.slots for step in plan.steps if isinstance(step, Activate)] == [names[:2], names[2:3]]
    first = next(step for step in plan.steps if isinstance(step, Terminate))
    assert first.slots == ("i-new4",)
    assert plan.steps.index(first) < next(at for at, step in enumerate(plan.steps) if isinstance(step, Preflight))


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 5), st.integers(0, 3))
def test_on_the_way_back_no_more_are_out_at_a_time_than_on_the_way_forward(stayed, came, idle, at_once):
    members = [Member(f"i-{at}", NEW) for at in range(stayed)] + [Member(f"i-idle{at}", None) for at in range(idle)]
    fresh = [Member(f"i-new{at}", NEW) for at in range(came)]
    launched = tuple(member.id for member in fresh)
    number = len(members) + came
    plan = rollback.plan((*members, *fresh), launched, STOPPED, number=number, at_once=at_once)
    serving = {member.id for member in (*members, *fresh) if member.digest is not None}
    for step in plan.steps:
        if isinstance(step, Activate):
            out = serving & set(step.slots)
            assert len(out) <= (len(serving) + 1) // 2
            assert not at_once or len(out) <= at_once
    keys = [step.key for step in plan.steps]
    assert len(keys) == len(set(keys))


def test_on_the_way_back_from_other_settings_alone_a_successor_is_only_checked_as_before() -> None:
    members = (Member("i-2", OLD), Member("i-new1", OLD))
    plan = rollback.plan(members, ("i-new1",), Target(OLD, prepare=False), number=2)
    assert [(type(step), step.slots) for step in plan.steps] == [(Register, ("i-new1",))]


@given(
    st.lists(st.sampled_from([None, OLD, NEW]), max_size=6),
    st.lists(st.sampled_from([None, OLD, NEW]), max_size=6),
    st.integers(0, 8),
)
def test_a_way_back_ends_with_the_number_of_before_where_it_can(stayed, came, number):
    members = [Member(f"i-{at}", digest) for at, digest in enumerate(stayed)]
    fresh = [Member(f"i-new{at}", digest) for at, digest in enumerate(came)]
    launched = tuple(member.id for member in fresh)
    plan = rollback.plan((*members, *fresh), launched, Target(OLD, prepare=False), number=number)
    removed = {slot for step in plan.steps if isinstance(step, Terminate) for slot in step.slots}
    assert removed <= set(launched)
    kept = len(launched) - len(removed)
    able = sum(digest is not None for digest in came)
    assert kept == min(max(number - len(members), 0), able)
    brought = {slot for step in plan.steps if isinstance(step, Activate) for slot in step.slots}
    serves = {member.id for member in (*members, *fresh) if member.digest == OLD and member.id not in removed}
    assert len(brought | serves) == len(members) + kept
