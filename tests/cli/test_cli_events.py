"""Events, as they are and as they come."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal

import pytest
from toy_api import Run, Served, Toy

from beanpole.cli.event import Events

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_events_oldest_first(served: Served, toy: Toy, run: Run) -> None:
    for number in range(3):
        toy.say("r", "shop-dev", f"Event {number}.", "WARN")
    done = run("events", "--lines", "2")
    assert done.out == "2026-11-02 12:00:00  WARN   Event 1.\n2026-11-02 12:00:00  WARN   Event 2.\n"
    assert [each["message"] for each in run("events", "--json").json["events"]] == ["Event 0.", "Event 1.", "Event 2."]


def test_events_of_an_environment_that_is_gone(served: Served, toy: Toy, run: Run) -> None:
    toy.say("r", "old-dev", "It was terminated.")
    assert "It was terminated." in run("events", "old-dev").out
    assert run("events", "never-dev").status == 3


def test_following_events_shows_each_once_until_interrupted(
    served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.say("r", "shop-dev", "Before.")
    looks = []

    def describe(call: object) -> None:
        looks.append(call)
        if len(looks) == 3:
            toy.say("r", "shop-dev", "Meanwhile.")
        if len(looks) == 6:
            os.kill(os.getpid(), signal.SIGINT)

    original = toy._describe_events
    monkeypatch.setattr(toy, "_describe_events", lambda call: describe(call) or original(call))
    served.stop()
    served.start()
    done = run("events", "-f", "--json")
    assert done.status == 130
    assert [json.loads(line)["message"] for line in done.out.splitlines()] == ["Before.", "Meanwhile."]


def test_ctrl_c_leaves_a_clean_line(served: Served, toy: Toy, at_terminal: Run) -> None:
    toy.say("r", "shop-dev", "Before.")
    original, looks = Events.latest, iter(range(100))

    def latest(events: Events, count: int | None = None) -> object:
        if next(looks) == 1:
            raise KeyboardInterrupt
        return original(events, count)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Events, "latest", latest)
        done = at_terminal("events", "-f")
    assert done.status == 130
    assert done.out.endswith("Before.\n\n")


def test_times_are_iso_in_json(served: Served, toy: Toy, run: Run) -> None:
    toy.say("r", "shop-dev", "Hello.")
    at = run("events", "--json").json["events"][0]["at"]
    assert dt.datetime.fromisoformat(at) == dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
    assert at.endswith("Z")
