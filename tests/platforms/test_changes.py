"""What changed between the packages of two layers."""

from __future__ import annotations

import pytest

from beanpole.platforms.changes import changes

pytestmark = pytest.mark.pure


def test_added_removed_up_and_down() -> None:
    before = [("flask", "3.0.0"), ("keras", "2.14.0"), ("numpy", "1.9.0"), ("six", "1.16"), ("tensorflow", "2.14.0")]
    after = [("flask", "3.0.0"), ("numpy", "1.10.0"), ("six", "1.15"), ("tensorflow", "2.15.0"), ("wheel", "0.45")]
    assert [(change.how, str(change)) for change in changes(before, after)] == [
        ("removed", "keras 2.14.0 removed"),
        ("up", "numpy 1.9.0 → 1.10.0"),
        ("down", "six 1.16 → 1.15"),
        ("up", "tensorflow 2.14.0 → 2.15.0"),
        ("added", "wheel 0.45 added"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [("2.0rc1", "2.0", "up"), ("2.1.0+cpu", "2.1.0", "down"), ("1.0", "1.0.0", "changed"), ("abc", "1", "changed")],
)
def test_versions_are_compared_as_python_has_them(before: str, after: str, how: str) -> None:
    assert [change.how for change in changes([("a", before)], [("a", after)])] == [how]


def test_nothing_changed() -> None:
    assert changes([("a", "1")], [("a", "1")]) == ()
