"""Another number of instances."""

from __future__ import annotations

import pytest
from toy_api import Run, Served, Toy

from beanpole.cli import crowd, follow

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_scale(served: Served, toy: Toy, run: Run) -> None:
    done = run("scale", "3", "--json")
    assert done.json["outcome"] == "succeeded"
    (update,) = toy.called("UpdateEnvironment")
    assert {each["OptionName"]: each["Value"] for each in update["OptionSettings"]} == {"MinSize": "3", "MaxSize": "3"}
    assert "shop-dev has 2 instances already: nothing was touched." in run("scale", "2").out
    assert run("scale", "none").status == 2


def test_scaling_a_busy_environment_names_it_in_the_remedy(served: Served, toy: Toy, run: Run) -> None:
    toy.environments["shop-dev"]["Status"] = "Updating"
    done = run("scale", "3")
    assert done.status == 3
    assert "`beanpole abort shop-dev`" in done.err


def test_more_instances_than_the_machine_has_processors_for(
    served: Served, toy: Toy, run: Run, at_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "cpus", lambda: 2)
    done = run("scale", "9")
    assert done.status == 2
    assert "9 instances are more than 4 for each of the 2 CPUs of this machine" in done.err
    assert "Say --yes" in done.err
    assert at_terminal("scale", "9", types="n\n").status == 3
    assert not toy.called("UpdateEnvironment")
    assert run("scale", "8").status == 0
    agreed = run("scale", "9", "--yes")
    assert agreed.status == 0
    assert "Warning: 9 instances are more" in agreed.err
    toy.settings["shop-dev"]["aws:autoscaling:asg", "MinSize"] = "20"
    assert run("scale", "15").status == 0  # fewer than there are


def test_an_operation_that_had_nothing_to_do(
    served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MISSING", 0.02)
    toy.forget_operations = True
    assert "there was nothing to do" in run("scale", "3").out
