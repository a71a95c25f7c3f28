"""Which versions go when one is created."""

from __future__ import annotations

import pytest

from beanpole.policies.lifecycle import AT_ONCE, DAY_MS, Lifecycle, Made, MaxAge, MaxCount, decode, doomed, encode

pytestmark = pytest.mark.pure

NOW = 1000 * DAY_MS


def made(*ages: int) -> list[Made]:
    """Versions named by their ages in days, the newest first, as the store lists them."""
    return [Made(f"d{age}", NOW - age * DAY_MS) for age in sorted(ages)]


def by_count(number: int, enabled: bool = True) -> Lifecycle:
    return Lifecycle(count=MaxCount(enabled, number))


def by_age(days: int) -> Lifecycle:
    return Lifecycle(age=MaxAge(True, days))


@pytest.mark.parametrize(
    ("rules", "kept", "gone"),
    [
        (Lifecycle(), (), []),
        (by_count(1, enabled=False), (), []),
        (by_count(4), (), []),  # the new one, d0, is not counted
        (by_count(3), (), ["d40"]),
        (by_count(1), (), ["d40", "d30", "d20"]),
        (by_count(3), ("d40",), ["d30"]),  # one in use keeps its place, and the next oldest goes
        (by_count(1), ("d40", "d30", "d20"), ["d10"]),
        (by_count(1), ("d40", "d30", "d20", "d10"), []),
        (by_age(25), (), ["d40", "d30"]),
        (by_age(30), (), ["d40"]),  # not older than 30 days
        (by_age(25), ("d40",), ["d30"]),
        (by_age(100), (), []),
    ],
)
def test_what_goes(rules: Lifecycle, kept: tuple[str, ...], gone: list[str]) -> None:
    assert doomed(rules, made(0, 10, 20, 30, 40), "d0", kept, NOW) == gone


def test_the_new_version_stays_even_with_an_old_time() -> None:
    assert doomed(by_age(1), [Made("new", 0)], "new", (), NOW) == []


@pytest.mark.parametrize("rules", [by_count(1), by_age(1)])
def test_at_most_so_many_go_at_once(rules: Lifecycle) -> None:
    gone = doomed(rules, made(*range(2, 2 + 2 * AT_ONCE)), "new", (), NOW)
    assert len(gone) == AT_ONCE
    assert gone[0] == f"d{1 + 2 * AT_ONCE}"


def test_rules_are_kept_as_text() -> None:
    rules = Lifecycle(MaxCount(True, 3, True), MaxAge(), "arn:aws:iam::123456789012:role/x")
    assert decode(encode(rules)) == rules
    assert decode(None) == Lifecycle()
    assert rules.deletes_source
    assert not by_age(3).deletes_source
