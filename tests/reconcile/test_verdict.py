"""When a release that passed is returned from: a start may be waited for, deaths do not add up across instances."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.reconcile.verdict import (
    DEATHS,
    GAP,
    GONE,
    SETTLED,
    Record,
    Terms,
    Told,
    Verdict,
    follow,
    judge,
    lost,
)

pytestmark = pytest.mark.pure

TERMS = Terms(start=60.0, check=10.0, passed_at=1000.0)
PASSED = Told(here=True, started_at=990.0, restarts=0)
"""The process that passed its checks."""


def again(at: float, restarts: int = 1) -> Told:
    return Told(here=True, started_at=at, restarts=restarts)


DOWN = Told(here=True, started_at=None, restarts=1)
GONE_FROM_IT = Told(here=False, started_at=None, restarts=0)

Look = tuple[bool | None, Told | None]


def after(looks: list[Look], begin: float = 1000.0) -> tuple[Record, float]:
    """The record after one look each second; and the time of the last one."""
    record, now = None, begin
    for number, look in enumerate(looks):
        now = begin + number
        record = follow(record, now, *look)
    assert record is not None
    return record, now


def verdict(*instances: list[Look]) -> Verdict | None:
    longest = max(len(looks) for looks in instances)
    found = {
        f"i-{number}": after([*looks, *[looks[-1]] * (longest - len(looks))])
        for number, looks in enumerate(instances, 1)
    }
    return judge({name: record for name, (record, _) in found.items()}, TERMS, 1000.0 + longest - 1)


def well(seconds: float = 1) -> list[Look]:
    return [(True, PASSED)] * int(seconds)


def ill(seconds: float, told: Told | None = PASSED) -> list[Look]:
    return [(False, told)] * int(seconds)


CASES: dict[str, tuple[tuple[list[Look], ...], Verdict | None]] = {
    "all are well": ((well(), well()), None),
    "a slow boot after one death": ((well(5) + ill(3, DOWN) + ill(50, again(1006.0)),), None),
    "slow boots of all after a restart of the machine": (
        tuple(well(5) + ill(50, again(1006.0, restarts=0)) for _ in range(3)),
        None,
    ),
    "one death each on three of three, all at once": (
        tuple(well(5) + ill(40, again(1006.0)) for _ in range(3)),
        None,
    ),
    "two deaths on each of three": (
        tuple(well(5) + ill(4, again(1006.0)) + ill(10, again(1010.0, 2)) + [(True, again(1010.0, 2))] for _ in "123"),
        None,
    ),
    "three deaths on one of three": (
        ([*well(5), (True, again(1006.0, DEATHS))], well(), well()),
        Verdict(dying=("i-1",), ill=()),
    ),
    "a start that takes too long": (
        (well(5) + ill(72, again(1006.0)), well(), well()),
        Verdict(dying=(), ill=("i-1",)),
    ),
    "a health check that fails on one of three": ((well(5) + ill(60), well(), well()), None),
    "a health check that fails on one of three for too long": (
        (well(5) + ill(72), well(), well()),
        Verdict(dying=(), ill=("i-1",)),
    ),
    "a health check that fails everywhere while the processes run": (
        (well(5) + ill(SETTLED + 1), well(5) + ill(SETTLED + 1)),
        Verdict(dying=(), ill=("i-1", "i-2")),
    ),
    "a pause for breath everywhere": ((well(5) + ill(SETTLED - 1), well(5) + ill(SETTLED - 1)), None),
    "unhealthy, well for a look, unhealthy again": ((ill(SETTLED - 1) + well() + ill(SETTLED - 1),), None),
    "half of the fleet": (
        (well(5) + ill(SETTLED + 1), well()),
        Verdict(dying=(), ill=("i-1",)),
    ),
    "less than half of it": ((well(5) + ill(SETTLED + 1), well(), well()), None),
    "unhealthy everywhere, and no agent answers": ((ill(200, None), ill(200, None)), None),
    "an agent that falls silent": ((well(5) + ill(2) + ill(200, None),), None),
    "a release that is gone from its instance": ((well(5) + ill(200, GONE_FROM_IT),), None),
    "a balancer that says nothing": (([*ill(5), (None, PASSED), *ill(SETTLED - 1)],), None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_rule(case: str) -> None:
    instances, expected = CASES[case]
    assert verdict(*instances) == expected


def test_the_restarts_of_an_earlier_release_are_no_deaths_of_this_one() -> None:
    record, now = after([(True, again(900.0, 7))] * 5)
    assert judge({"i-1": record}, TERMS, now) is None


def test_a_death_before_the_first_word_of_the_agent_counts() -> None:
    for told in (again(1001.0), Told(here=True, started_at=None, restarts=1)):
        record = follow(None, 1002.0, True, told, passed_at=1000.0)
        record = follow(record, 1009.0, True, again(1008.0, DEATHS), passed_at=1000.0)
        assert judge({"i-1": record}, TERMS, 1009.0) == Verdict(dying=("i-1",), ill=())


def test_a_machine_that_slept_is_not_judged_by_the_clock() -> None:
    record, now = after(well(5) + ill(3))
    record = follow(record, now + 3600, False, PASSED)
    assert judge({"i-1": record}, TERMS, now + 3600) is None


def test_deaths_are_remembered_over_a_gap() -> None:
    record, now = after([(True, PASSED), (True, again(1001.0, 2))])
    record = follow(record, now + 2 * GAP, True, again(1001.0, 3))
    assert judge({"i-1": record}, TERMS, now + 2 * GAP) == Verdict(dying=("i-1",), ill=())


def test_the_words_name_reason_and_instances() -> None:
    assert Verdict(("i-3",), ("i-1", "i-2")).words() == (
        "the health check fails on i-1, i-2; its web process died 3 times or more on i-3"
    )


def test_a_release_is_lost_when_its_agent_goes_on_saying_so() -> None:
    assert not lost(after(ill(GONE, GONE_FROM_IT))[0])
    assert lost(after(ill(GONE + 1, GONE_FROM_IT))[0])


def test_it_is_not_lost_while_the_balancer_finds_it_well_or_its_process_comes_back() -> None:
    assert not lost(after([(True, GONE_FROM_IT)] * 60)[0])
    assert not lost(after([*ill(GONE, GONE_FROM_IT), *ill(1, DOWN), *ill(GONE, GONE_FROM_IT)])[0])
    assert not lost(after([*ill(1, GONE_FROM_IT), *ill(60, None)])[0]), "one word of an agent is not enough"


@given(
    deaths=st.lists(st.integers(0, DEATHS - 1), min_size=1, max_size=6),
    boot=st.integers(0, 55),
)
def test_however_many_instances_die_now_and_then_slow_starts_are_waited_for(deaths: list[int], boot: int) -> None:
    records: dict[str, Record] = {}
    for second in range(300):
        now = 1000.0 + second
        for number, times in enumerate(deaths):
            # Each instance dies every hundred seconds, and is down for as long as it boots.
            happened = min(second // 100, times)
            began = 1000.0 + 100 * happened if happened else 990.0
            down = happened > 0 and now - began < boot
            name = f"i-{number}"
            records[name] = follow(
                records.get(name), now, not down, Told(here=True, started_at=began, restarts=happened)
            )
        assert judge(records, TERMS, now) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_another_well_instance_never_makes_a_release_worse(fleet: list[tuple[bool, bool]]) -> None:
    records = {
        f"i-{number}": after(well(5) + (ill(SETTLED + 1) if bad else well(SETTLED + 1)))[0]
        for number, (bad, _) in enumerate(fleet)
    }
    records = {
        name: msgspec.structs.replace(record, deaths=DEATHS - 1 if tired else 0)
        for (name, record), (_, tired) in zip(records.items(), fleet, strict=True)
    }
    now = 1000.0 + 5 + SETTLED
    before = judge(records, TERMS, now)
    grown = judge(records | {"i-new": after(well(16))[0]}, TERMS, now)
    assert grown is None or grown == before
    bad = sum(each for each, _ in fleet)
    assert (before is not None) == (bad * 2 >= len(fleet))


def test_what_could_not_be_brought_back_counts_as_unhealthy() -> None:
    well_one = after(well(20))[0]
    assert judge({}, TERMS, 1020.0, {"i-1"}) == Verdict((), (), ("i-1",))
    assert judge({"i-2": well_one}, TERMS, 1020.0, {"i-1"}) == Verdict((), (), ("i-1",))
    assert judge({"i-2": well_one, "i-3": well_one}, TERMS, 1020.0, {"i-1"}) is None
    both = judge({"i-2": after([(False, PASSED)] * 20)[0], "i-3": well_one}, TERMS, 1019.0, {"i-1"})
    assert both == Verdict((), ("i-2",), ("i-1",))
    assert both.words() == "the health check fails on i-2; it could not be brought back on i-1"
