"""Policies that launch new instances: nobody is touched before the new ones are proven, and capacity never falls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.policies import immutable, rollback, rolling_with_additional_batch, traffic_splitting
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.plan import (
    Activate,
    Drain,
    Fetch,
    Finish,
    Gate,
    Launch,
    Leave,
    Once,
    Plan,
    Retire,
    Shift,
    Smoke,
    Terminate,
    Watch,
    decode,
    encode,
)
from beanpole.policies.smoke import with_smoke

pytestmark = pytest.mark.pure

OLD, NEW = "0ld", "n3w"


def fleet(count: int) -> tuple[Member, ...]:
    return tuple(Member(f"i-{number}", OLD) for number in range(count))


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


def ids(members: tuple[Member, ...]) -> set[str]:
    return {member.id for member in members}


fleets = st.lists(st.booleans(), min_size=1, max_size=12).map(
    lambda reachable: tuple(Member(f"i-{at}", OLD, reachable=each) for at, each in enumerate(reachable))
)
rules = st.builds(
    Rules,
    batch_size=st.integers(1, 100),
    batch_is_percentage=st.booleans(),
    percent=st.integers(1, 100),
    evaluation=st.sampled_from([1.0, 60.0, 300.0]),
)
targets = st.builds(Target, st.just(NEW), once=st.booleans(), stop_first=st.sampled_from([None, "it has a port"]))
beside = st.sampled_from([immutable.plan, traffic_splitting.plan])
planned = st.sampled_from([immutable.plan, traffic_splitting.plan, rolling_with_additional_batch.plan])


@given(planned, fleets, targets, rules, st.integers(1, 12))
def test_the_end_has_as_many_instances_as_are_wanted_all_with_the_release(policy, members, target, given_rules, wanted):
    plan = policy(members, target, given_rules, wanted)
    new = {slot for step in plan.steps if isinstance(step, Launch) for slot in step.slots}
    gone = {slot for step in plan.steps if isinstance(step, Retire) for slot in step.slots}
    finished = {slot for step in plan.steps if isinstance(step, Finish) for slot in step.slots}
    stay = (ids(members) | new) - gone
    assert len(stay) == wanted
    assert gone <= ids(members)
    silent = {member.id for member in members if not member.reachable}
    assert finished <= stay
    assert stay - finished <= silent


@given(planned, fleets, targets, rules, st.integers(1, 12))
def test_keys_are_unique_and_a_plan_survives_being_stored(policy, members, target, given_rules, wanted):
    plan = with_smoke(policy(members, target, given_rules, wanted), ["/health 200"])
    keys = [step.key for step in plan.steps]
    assert len(keys) == len(set(keys))
    assert decode(encode(plan)) == plan


@given(planned, fleets, targets, rules, st.integers(1, 12))
def test_nothing_follows_the_step_from_which_there_is_no_way_back(policy, members, target, given_rules, wanted):
    plan = with_smoke(policy(members, target, given_rules, wanted), ["/health 200"])
    assert kinds(plan)[-1] is Retire
    assert kinds(plan).count(Retire) == 1
    asked, finished = kinds(plan).index(Smoke), max(at for at, kind in enumerate(kinds(plan)) if kind is Finish)
    last = max(at for at, step in enumerate(plan.steps) if isinstance(step, Shift))
    assert finished < last < asked, "the balancer is asked when only the new release gets requests"
    assert not plan.downtime


@given(planned, fleets, targets, rules, st.integers(1, 12))
def test_everything_is_fetched_and_proven_before_it_gets_a_request(policy, members, target, given_rules, wanted):
    plan = policy(members, target, given_rules, wanted)
    launched, fetched, proven, asked = set(), set(), set(), set()
    for step in plan.steps:
        match step:
            case Launch(slots=slots):
                launched |= set(slots)
            case Fetch(slots=slots):
                fetched |= set(slots)
                assert not asked, "fetched everywhere before anybody gets requests"
            case Activate(slots=slots, waits=waits):
                assert set(slots) <= fetched
                assert {slot for slot in slots if slot.startswith("new-")} <= launched
                asked |= set() if waits else set(slots)
            case Gate(slots=slots):
                proven |= set(slots)
            case Shift(to=to):
                assert set(to) <= proven
                asked |= set(to)


@given(beside, fleets, targets, rules, st.integers(1, 12))
def test_a_present_instance_is_touched_by_nothing_but_its_retirement(policy, members, target, given_rules, wanted):
    plan = policy(members, target, given_rules, wanted)
    touching = {type(step) for step in plan.steps if set(step.slots) & ids(members)}
    assert touching == {Retire}
    assert all(step.waits for step in plan.steps if isinstance(step, Activate))


@given(planned, fleets, targets, rules, st.integers(1, 12))
def test_leader_only_work_runs_once(policy, members, target, given_rules, wanted):
    plan = policy(members, target, given_rules, wanted)
    leaders = [step for step in plan.steps if isinstance(step, Once)]
    assert [step.slots for step in leaders] == ([("new-1",)] if target.once else [])


@given(st.integers(1, 30).map(fleet), targets, rules)
def test_an_additional_batch_never_leaves_fewer_serving_than_there_were(members, target, given_rules):
    plan = rolling_with_additional_batch.plan(members, target, given_rules, len(members))
    serving = ids(members)
    for step in plan.steps:
        if isinstance(step, Activate):
            # Stop-first, a whole batch is out at once; a new instance serves from its end on.
            out = set(step.slots) if step.stop_first else set()
            assert len(serving - out) >= len(members)
            serving |= set(step.slots)
        if isinstance(step, Retire):
            serving -= set(step.slots)
            assert len(serving) == len(members)
    rolled = {slot for step in plan.steps if isinstance(step, Drain) for slot in step.slots}
    assert serving & ids(members) == rolled


def test_what_an_additional_batch_does_step_by_step():
    plan = rolling_with_additional_batch.plan(fleet(3), Target(NEW), Rules(batch_size=1, batch_is_percentage=False), 3)
    switched = [step.slots for step in plan.steps if isinstance(step, Activate)]
    assert switched == [("new-1",), ("i-1",), ("i-2",)]
    (retired,) = (step.slots for step in plan.steps if isinstance(step, Retire))
    (launched,) = (step for step in plan.steps if isinstance(step, Launch))
    assert retired == launched.beside == ("i-0",), "the oldest makes place for the new one, and is never rolled"


def test_with_all_in_one_batch_the_additional_one_replaces_all():
    plan = rolling_with_additional_batch.plan(fleet(2), Target(NEW), Rules(), 2)
    assert [step.slots for step in plan.steps if isinstance(step, Activate)] == [("new-1", "new-2")]
    assert Drain not in kinds(plan)


def test_immutable_tries_one_first():
    plan = immutable.plan(fleet(3), Target(NEW, once=True), Rules(), 3)
    assert [step.slots for step in plan.steps if isinstance(step, Launch)] == [("new-1",), ("new-2", "new-3")]
    assert [step.percent for step in plan.steps if isinstance(step, Shift)] == [100]
    alone = immutable.plan(fleet(1), Target(NEW), Rules(), 1)
    assert [step.slots for step in alone.steps if isinstance(step, Launch)] == [("new-1",)]


def test_traffic_splitting_gives_a_part_watches_and_gives_all():
    plan = traffic_splitting.plan(fleet(2), Target(NEW), Rules(percent=20, evaluation=180.0), 2)
    told = [(type(step), getattr(step, "percent", None)) for step in plan.steps if isinstance(step, Shift | Watch)]
    assert told == [(Shift, 20), (Watch, None), (Shift, 100)]
    (watch,) = (step for step in plan.steps if isinstance(step, Watch))
    assert (watch.seconds, watch.to) == (180.0, ("new-1", "new-2"))
    assert "3 minutes" in watch.words


def test_the_way_back_takes_the_requests_back_first_and_removes_what_was_launched():
    members = (Member("i-1", OLD), Member("i-2", OLD), Member("i-new", NEW))
    plan = rollback.plan(members, ("i-new",), Target(OLD, prepare=False), shared=True)
    assert [type(step) for step in plan.steps] == [Shift, Leave, Terminate]
    assert plan.steps[0].percent == 0
    assert {slot for step in plan.steps for slot in step.slots} == {"i-new"}


def test_the_way_back_from_an_additional_batch_returns_those_that_were_rolled():
    members = (Member("i-1", OLD), Member("i-2", NEW), Member("i-new", NEW))
    plan = rollback.plan(members, ("i-new",), Target(OLD, prepare=False), shared=True)
    assert [type(step) for step in plan.steps] == [Shift, Activate, Gate, Finish, Drain, Leave, Terminate]
    assert plan.steps[1].slots == ("i-2",)
