"""The two environments of a blue/green deployment: how a clone is called, and what is said at each stage."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from beanpole.cli.couple import Couple, other_colour
from beanpole.cli.environment import Environment
from beanpole.cli.names import is_environment_name

pytestmark = pytest.mark.pure


def environment(name: str, version: str | None, prefix: str) -> Environment:
    url = f"http://{prefix}.localhost:8080"
    return Environment(name, f"e-{name}", "shop", "Ready", "Ok", version, url, "Python", False, None)


OLD, NEW = environment("shop", "v1", "shop"), environment("shop-green", "v2", "shop-green")
MADE = Couple(OLD, NEW, "shop")
SWAPPED = Couple(environment("shop", "v1", "shop-green"), environment("shop-green", "v2", "shop"), "shop")
KEPT = replace(SWAPPED, old=replace(SWAPPED.old, terminate_at=dt.datetime(2026, 11, 2, 14, 30, tzinfo=dt.UTC)))


@pytest.mark.parametrize(
    ("couple", "stage", "serving", "second"),
    [
        (
            replace(MADE, new=replace(NEW, status="Launching", version=None)),
            "making",
            "shop",
            "shop-green is Launching and runs nothing that has passed yet; no user meets it.",
        ),
        (MADE, "made", "shop", "shop-green runs v2 and waits for the swap, at http://shop-green.localhost:8080."),
        (SWAPPED, "swapped", "shop-green", "shop runs v1 and waits, at http://shop-green.localhost:8080."),
        (KEPT, "kept", "shop-green", "shop (v1) is kept until 2026-11-02 14:30 UTC and terminated by itself then."),
    ],
)
def test_what_is_where(couple: Couple, stage: str, serving: str, second: str) -> None:
    assert (couple.stage, couple.serving.name, couple.url) == (stage, serving, "http://shop.localhost:8080")
    version = couple.serving.version
    assert couple.words() == [f"http://shop.localhost:8080 leads to {serving} ({version}).", second]


def test_a_version_on_its_way_to_the_clone_is_not_swapped_to() -> None:
    assert replace(MADE, new=replace(NEW, status="Updating")).stage == "making"


@pytest.mark.parametrize(
    ("name", "clone"),
    [("shop", "shop-green"), ("shop-green", "shop-blue"), ("shop-blue", "shop-green"), ("a" * 40, "a" * 34 + "-green")],
)
def test_clones_take_turns(name: str, clone: str) -> None:
    assert other_colour(name) == clone
    assert is_environment_name(clone)
    assert is_environment_name(other_colour("a" * 33 + "-" + "b" * 6))
