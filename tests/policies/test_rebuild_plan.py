"""A rebuild's plan: every instance is another one at its end, and in between there are as many as there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.policies import plan as plans
from beanpole.policies import rebuild, rollback
from beanpole.policies.change import Member, Target
from beanpole.policies.plan import Launch, Plan, Terminate

pytestmark = pytest.mark.pure

TARGET = Target("digest")


def fleet(number: int, digest: str | None = "digest") -> tuple[Member, ...]:
    return tuple(Member(f"i-{at}", digest) for at in range(number))


def kinds(plan: Plan) -> list[str]:
    """Launches and terminations with their slots."""
    found = [step for step in plan.steps if isinstance(step, Launch | Terminate)]
    return [f"{type(step).__name__} {' '.join(step.slots)}" for step in found]


def test_where_there_is_room_all_new_ones_serve_before_an_old_one_leaves() -> None:
    made = rebuild.plan(fleet(2), 2, TARGET, 5, ["GET /health 200"])
    assert kinds(made) == ["Launch new-1 new-2", "Terminate i-0 i-1"]
    assert [type(step).__name__ for step in made.steps][-3:] == ["Smoke", "Leave", "Terminate"]
    assert (made.downtime, made.notes) == (False, ())


def test_with_room_for_some_they_come_in_rounds() -> None:
    made = rebuild.plan(fleet(3), 3, TARGET, 2)
    assert kinds(made) == ["Launch new-1 new-2", "Terminate i-0 i-1", "Launch new-3", "Terminate i-2"]


def test_without_room_one_after_the_other_makes_way() -> None:
    made = rebuild.plan(fleet(2), 2, TARGET, 0)
    assert kinds(made) == ["Terminate i-0", "Launch new-1", "Terminate i-1", "Launch new-2"]
    assert not made.downtime
    alone = rebuild.plan(fleet(1), 1, TARGET, 0)
    assert kinds(alone) == ["Terminate i-0", "Launch new-1"]
    assert (alone.downtime, alone.notes) == (True, (rebuild.OUTAGE,))


def test_what_serves_nothing_goes_first_and_at_once() -> None:
    assert kinds(rebuild.plan(fleet(2, None), 2, TARGET, 9)) == ["Terminate i-0 i-1", "Launch new-1 new-2"]
    assert kinds(rebuild.plan((), 2, TARGET, 0)) == ["Launch new-1 new-2"]
    mixed = (Member("i-0", "digest"), Member("i-1", "digest", reachable=False), Member("i-2"))
    assert kinds(rebuild.plan(mixed, 3, TARGET, 1))[1::2] == ["Terminate i-2", "Terminate i-1", "Terminate i-0"]


@given(
    st.lists(st.tuples(st.sampled_from(["digest", "other", None]), st.booleans()), max_size=8),
    st.integers(1, 8),
    st.integers(0, 9),
    st.booleans(),
)
def test_any_rebuild(members: list[tuple[str | None, bool]], count: int, room: int, tested: bool) -> None:
    old = tuple(Member(f"i-{at}", digest, reachable) for at, (digest, reachable) in enumerate(members))
    made = rebuild.plan(old, count, TARGET, room, ["GET / 200"] if tested else [])
    assert len({step.key for step in made.steps}) == len(made.steps)
    assert plans.decode(plans.encode(made)) == made
    launched = [slot for step in made.steps if isinstance(step, Launch) for slot in step.slots]
    gone = [slot for step in made.steps if isinstance(step, Terminate) for slot in step.slots]
    assert launched == [f"new-{at}" for at in range(1, count + 1)]
    assert sorted(gone) == sorted(member.id for member in old)
    there, most = len(old), len(old)
    serving = {member.id for member in old if member.digest is not None}
    for step in made.steps:
        if isinstance(step, Launch):
            there += len(step.slots)
            most = max(most, there)
            served = set(step.slots)
        elif isinstance(step, Terminate):
            there -= len(step.slots)
            serving -= set(step.slots)
        if type(step).__name__ == "Finish":
            serving |= served
        if len([member for member in old if member.digest]) > 1 or made.downtime is False:
            assert serving or not any(member.digest for member in old), "nobody serves"
    assert most <= max(len(old) + room, count, len(old) + (0 if room else 1))


def test_a_return_keeps_the_new_ones_whose_old_ones_have_left() -> None:
    left = Member("i-2", "digest")
    new = (Member("i-8", "digest"), Member("i-9", None))
    launched = ("i-8", "i-9")
    assert rollback.surplus((left, *new), launched, 2) == ("i-9",)
    assert rollback.surplus((left, *new), launched, 1) == launched
    assert rollback.surplus(new, launched, 3) == ("i-9",)
    assert rollback.surplus((left,), (), 2) == ()
