"""What keeps failing is tried after growing pauses, and at once after a change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.reconcile.backoff import LONGEST, Backoff

pytestmark = pytest.mark.pure


def attempts(backoff: Backoff, until: int, release: int = 1) -> list[int]:
    """The minutes at which a thing that always fails is tried."""
    found = []
    for minute in range(until):
        if backoff.due("i-1", release, minute * 60.0):
            backoff.tried("i-1", release, minute * 60.0)
            found.append(minute)
    return found


def test_the_pauses_double_up_to_half_an_hour() -> None:
    assert attempts(Backoff(), 130) == [0, 1, 3, 7, 15, 31, 61, 91, 121]


def test_another_release_begins_anew_and_another_instance_has_its_own_pauses() -> None:
    backoff = Backoff()
    assert attempts(backoff, 10) == [0, 1, 3, 7]
    assert backoff.due("i-2", 1, 600.0)
    assert backoff.due("i-1", 2, 600.0)


def test_it_is_forgotten_once_all_stayed_well() -> None:
    backoff = Backoff()
    assert attempts(backoff, 4) == [0, 1, 3]
    backoff.well("i-1", 6 * 60.0)
    assert not backoff.due("i-1", 1, 6 * 60.0), "well for a moment after an attempt is not well"
    backoff.well("i-1", 7 * 60.0)
    backoff.tried("i-1", 1, 8 * 60.0)
    assert backoff.due("i-1", 1, 9 * 60.0)


@given(st.integers(1, 5000))
def test_it_is_never_given_up(times: int) -> None:
    backoff = Backoff()
    for number in range(times):
        backoff.tried("i-1", 1, float(number))
    assert backoff.due("i-1", 1, times + LONGEST)
