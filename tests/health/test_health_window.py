"""Counts by second become the figures of ten seconds and of a minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.health.rules.facts import Traffic
from beanpole.health.window import BALANCER, Metrics, Tally, Window, percentiles

pytestmark = pytest.mark.pure


def tally(good: int = 0, s4xx: int = 0, s5xx: int = 0, cut: int = 0, latency: list[int] | None = None) -> Tally:
    return Tally(good, 0, s4xx, s5xx, s5xx + cut, latency or [])


def test_ten_seconds_are_shown_and_a_minute_is_judged() -> None:
    window = Window()
    window.add(140, "i-1", tally(5))
    window.add(190, "i-1", tally(7))
    window.add(191, "i-1", tally(1, latency=[30]))
    window.add(200, "i-1", tally(2, latency=[10, 20]))
    window.add(200, "i-2", tally(1, s4xx=1, latency=[50, 60]))
    instances, everything = window.shown(200)
    assert everything.requests == 5
    assert (everything.s2xx, everything.s4xx) == (4, 1)
    assert instances["i-1"].requests == 3
    assert dict(instances["i-1"].latency)["P50"] == 0.02
    assert dict(everything.latency)["P999"] == 0.06
    assert window.minute(200).application == Traffic(12, 1)
    assert window.minute(199).application == Traffic(13)


def test_several_endpoints_of_an_instance_are_one() -> None:
    window = Window()
    window.add(10, "i-1", tally(2, latency=[1, 2]))
    window.add(10, "i-1", tally(3, s5xx=1, latency=[3]))
    instances, _ = window.shown(10)
    assert instances["i-1"].requests == 6
    assert dict(instances["i-1"].latency)["P999"] == 0.003


def test_what_reached_no_instance_is_the_balancers() -> None:
    window = Window()
    window.add(10, "i-1", tally(90))
    window.add(10, BALANCER, tally(s5xx=10))
    minute = window.minute(10)
    assert minute.application == Traffic(90)
    assert minute.balancer == Traffic(100, status_5xx=10)


def test_answers_that_broke_off_are_not_5xx() -> None:
    window = Window()
    window.add(10, "i-1", tally(10, s5xx=2, cut=3))
    assert window.minute(10).instances["i-1"] == Traffic(12, 0, 2, 3)


def test_old_seconds_are_forgotten() -> None:
    window = Window()
    window.add(100, "i-1", tally(5))
    window.forget(159)
    assert window.minute(159).balancer.requests == 5
    window.forget(160)
    assert window.minute(159).balancer.requests == 0


def test_without_requests_there_is_no_latency() -> None:
    assert Window().shown(10) == ({}, Metrics())


def test_percentiles_are_values_at_a_rank() -> None:
    found = dict(percentiles(list(range(1, 1001))))
    assert found == {
        "P999": 0.999, "P99": 0.99, "P95": 0.95, "P90": 0.9, "P85": 0.85, "P75": 0.75, "P50": 0.5, "P10": 0.1
    }  # fmt: skip


@given(st.lists(st.integers(0, 60000), min_size=1))
def test_percentiles_are_ordered_values_of_the_sample(latencies: list[int]) -> None:
    values = [value for _, value in percentiles(latencies)]
    assert values == sorted(values, reverse=True)
    assert {round(value * 1000) for value in values} <= set(latencies)


@given(st.lists(st.tuples(st.integers(0, 70), st.sampled_from(["i-1", "i-2", BALANCER]), st.integers(0, 9))))
def test_nothing_is_lost_or_counted_twice(counts: list[tuple[int, str, int]]) -> None:
    window = Window()
    for second, instance, number in counts:
        window.add(second, instance, tally(number))
    minute = window.minute(70)
    expected = sum(number for second, _, number in counts if second > 10)
    assert minute.balancer.requests == expected
    assert sum(traffic.requests for traffic in minute.instances.values()) == expected
