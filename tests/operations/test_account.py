"""What is remembered of an operation: differences without secrets, who was left behind."""

from __future__ import annotations

from typing import Any

import pytest

from beanpole.operations.account import left_behind, unreached
from beanpole.operations.difference import differences
from beanpole.operations.release import Content
from beanpole.operations.work import Brought
from beanpole.options import catalogue
from beanpole.options.settings import Settings

pytestmark = pytest.mark.pure

REGISTRY = catalogue.load()
PROPERTIES = "aws:elasticbeanstalk:application:environment"


def release(label: str, **properties: str) -> Brought:
    rows = [(PROPERTIES, name, "", value) for name, value in properties.items()]
    rows += [("aws:autoscaling:asg", "MinSize", "", str(len(properties)))]
    content = Content(manifest="m", files="f", python="3.11", processes=(), layer="l", settings=tuple(rows))
    return Brought(1, "d", label, content, Settings.from_rows(REGISTRY, rows))


def test_values_of_properties_are_never_among_the_differences() -> None:
    old = release("v1", DATABASE_URL="postgres://me:geheim@db", GONE="alt", SAME="x")
    new = release("v2", DATABASE_URL="postgres://me:secret@db", NEW="neu", SAME="x", MORE="y")
    found = differences(REGISTRY, old, new)
    assert [(each.what.rpartition(" ")[2], each.old, each.new) for each in found] == [
        ("version", "v1", "v2"),
        ("MinSize", "3", "4"),
        ("DATABASE_URL", "(set)", "(set)"),
        ("GONE", "(set)", "(none)"),
        ("MORE", "(none)", "(set)"),
        ("NEW", "(none)", "(set)"),
    ]


def test_who_was_left_behind_is_named_once_with_the_first_reason() -> None:
    blame = {"stage": "start", "cause": "the disk is full", "instance": "i-2"}
    later: dict[str, Any] = {"stage": "gate", "cause": "later"}
    journal = {
        "forward/fetch/i-1": {"installed": 1},
        "return/activate-1/i-2": {"behind": blame},
        "return/gate-1/i-2": {"behind": blame | later},
        "return/activate-1/i-3": {"behind": {"stage": "start", "cause": "no agent"}},
    }
    assert [(each.instance, each.reason) for each in left_behind(journal)] == [
        ("i-2", "start: the disk is full"),
        ("i-3", "start: no agent"),
    ]


def test_who_was_not_asked_is_known_by_name() -> None:
    journal: dict[str, Any] = {
        "forward/exclude/begin": {},
        "forward/exclude/i-1": {"excluded": True},
        "return/exclude/i-2": {"excluded": False},
        "forward/fetch/i-3": {"installed": 1},
    }
    assert unreached(journal) == {"i-1", "i-2"}
