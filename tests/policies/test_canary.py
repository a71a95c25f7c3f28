"""A new release is judged by what requests met: equal ones pass, worse ones do not, and few requests say nothing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.policies.canary import BOUNDS, Arm, Terms, arm_of, judge, least_difference

pytestmark = pytest.mark.pure

TERMS = Terms()


def arm(requests: int, failed: int = 0, milliseconds: tuple[float, ...] = ()) -> Arm:
    timed = arm_of(
        [{"latency_ms": [milliseconds[at % len(milliseconds)] for at in range(requests)]}] if milliseconds else []
    )
    return Arm(requests, failed, timed.spread)


def sampled(chance: random.Random, requests: int, rate: float, usual: float = 20.0) -> Arm:
    latencies = [chance.lognormvariate(0, 0.6) * usual for _ in range(requests)]
    failed = sum(chance.random() < rate for _ in range(requests))
    return Arm(requests, failed, arm_of([{"latency_ms": latencies}]).spread)


@pytest.mark.parametrize(
    ("new", "old", "worse"),
    [
        ((100, 0), (900, 0), False),
        ((100, 3), (900, 0), False),  # it may be chance
        ((100, 10), (900, 0), True),
        ((100, 100), (900, 900), False),  # both are broken: the new one is not to blame
        ((1000, 30), (9000, 90), False),  # 3 % after 1 %: two points more, one of them allowed, not sure enough
        ((10000, 300), (90000, 900), True),
        ((100, 20), (100, 0), True),
    ],
)
def test_more_errors(new: tuple[int, int], old: tuple[int, int], worse: bool) -> None:
    finding = judge(arm(*new), arm(*old), TERMS)
    assert finding.judged
    assert bool(finding.worse) is worse
    if worse:
        assert f"of {new[0]} requests to the new release failed" in finding.worse[0]


@pytest.mark.parametrize(("new", "old"), [((99, 99), (900, 0)), ((900, 900), (99, 0)), ((0, 0), (0, 0))])
def test_too_few_requests_are_no_judgement(new: tuple[int, int], old: tuple[int, int]) -> None:
    finding = judge(arm(*new), arm(*old), TERMS)
    assert (finding.judged, finding.worse) == (False, ())
    assert "100 requests are needed" in finding.words


def test_slower_answers() -> None:
    old = arm(1000, milliseconds=(10.0, 12.0, 14.0, 30.0))
    assert not judge(arm(200, milliseconds=(10.0, 12.0, 14.0, 30.0)), old, TERMS).worse
    assert not judge(arm(200, milliseconds=(14.0, 16.0, 18.0, 40.0)), old, TERMS).worse
    (reason,) = judge(arm(200, milliseconds=(10.0, 12.0, 14.0, 200.0)), old, TERMS).worse
    assert "took longer than" in reason
    assert not judge(arm(200, milliseconds=(3.0,)), arm(1000, milliseconds=(1.0,)), TERMS).worse, "a few milliseconds"


def test_equal_releases_pass_look_after_look() -> None:
    """100 evaluations of 150 looks each; of a rule that each look breaks in one of 20 cases, most would end early."""
    chance = random.Random(1)
    ended = 0
    for _ in range(100):
        new, old = Arm(), Arm()
        for _ in range(150):
            new += sampled(chance, 10, 0.02)
            old += sampled(chance, 30, 0.02)
            if judge(new, old, TERMS).worse:
                ended += 1
                break
    assert ended == 0


def test_a_bad_release_is_found_out_soon() -> None:
    chance = random.Random(2)
    for rate, usual in ((0.15, 20.0), (0.0, 80.0)):
        new, old = Arm(), Arm()
        for _ in range(10):
            new += sampled(chance, 20, rate, usual)
            old += sampled(chance, 180, 0.001)
        assert judge(new, old, TERMS).worse


counts = st.integers(1, 2000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))


@given(counts, counts)
def test_the_bound_is_below_the_difference_and_never_senseless(one: tuple[int, int], other: tuple[int, int]) -> None:
    found = least_difference(*one, *other)
    difference = one[0] / one[1] - other[0] / other[1]
    assert -1.0 - 1e-9 <= found <= difference + 1e-9


def test_newcombes_own_example() -> None:
    """56 of 70 less 48 of 80: his method 10 gives 0.0524 for 95 %."""
    assert round(least_difference(56, 70, 48, 80, sure=1.959964), 4) == 0.0524
    assert least_difference(56, 70, 48, 80) < 0.0524


def test_counts_of_the_agents_become_an_arm() -> None:
    found = arm_of([{"2xx": 3, "5xx": 1, "failed": 1, "latency_ms": [1, 7, 10_000_000]}, {"2xx": 2, "failed": 0}])
    assert (found.requests, found.failed, sum(found.spread)) == (6, 1, 3)
    assert found.spread[-1] == 1
    assert found.within(0.5) == next(bound for bound in BOUNDS if bound >= 7)
    assert found.slower(100) == 1
