"""Filters of platform lists: each operator means what it says, and others are refused."""

from __future__ import annotations

import pytest

from beanpole.aws.errors import AwsError
from beanpole.services.elasticbeanstalk.filters import BRANCHES, VERSIONS, attribute, passes

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("has", "operator", "value", "expected"),
    [
        ("4.10.0", "=", "4.10.0", True),
        ("4.10.0", "=", "4.1", False),
        ("4.10.0", "!=", "4.10.0", False),
        ("4.10.0", "!=", "4.1", True),
        ("4.10.0", ">", "4.9.0", True),
        ("4.10.0", "<", "4.9.0", False),
        ("4.10.0", ">=", "4.10.0", True),
        ("4.10.0", "<=", "4.10.0", True),
        ("4.10.0", "<", "5", True),
        ("Ready", "contains", "ead", True),
        ("Ready", "begins_with", "rea", True),
        ("Ready", "begins_with", "eady", False),
        ("Ready", "ends_with", "dy", True),
        ("Recommended", "=", "recommended", True),
        (["WebServer/Standard"], "contains", "webserver", True),
        ([], "=", "Log/S3", False),
        ([], "!=", "Log/S3", True),
    ],
)
def test_operators(has: object, operator: str, value: str, expected: bool) -> None:
    assert passes(has, operator, [value], VERSIONS) is expected


def test_several_values() -> None:
    assert passes("Ready", "in", ["Failed", "Ready"], BRANCHES)
    assert not passes("Ready", "not_in", ["Failed", "Ready"], BRANCHES)


@pytest.mark.parametrize(("operator", "known"), [("like", VERSIONS), ("in", VERSIONS), (">", BRANCHES), ("", BRANCHES)])
def test_operators_that_there_are_not(operator: str, known: tuple[str, ...]) -> None:
    with pytest.raises(AwsError, match="operator") as raised:
        passes("x", operator, ["x"], known)
    assert (raised.value.code, raised.value.status) == ("InvalidParameterValue", 400)


def test_attributes_that_there_are_not() -> None:
    assert attribute({"A": 1}, "a", {"a": "A"}) == 1
    with pytest.raises(AwsError, match="'colour' is not one of: a"):
        attribute({"A": 1}, "colour", {"a": "A"})
