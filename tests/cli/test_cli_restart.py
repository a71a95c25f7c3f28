"""`beanpole restart`: begun with one call, followed to its end."""

from __future__ import annotations

import pytest
from toy_api import Run, Served, Toy, going_wrong

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_restart(served: Served, toy: Toy, run: Run) -> None:
    done = run("restart")
    assert done.status == 0
    assert "The application of shop-dev was started anew" in done.out
    assert toy.called("RestartAppServer") == [{"EnvironmentName": "shop-dev"}]
    facts = run("restart", "shop-dev", "--json").json
    assert (facts["environment"], facts["outcome"], facts["kind"]) == ("shop-dev", "succeeded", "restart")


def test_a_restart_that_fails_says_why(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = going_wrong()
    done = run("restart")
    assert done.status == 1
    assert "The restart of shop-dev failed." in done.err


def test_a_restart_of_a_busy_environment(served: Served, toy: Toy, run: Run) -> None:
    toy.environments["shop-dev"]["Status"] = "Updating"
    done = run("restart")
    assert done.status == 3
    assert "`beanpole abort shop-dev`" in done.err
