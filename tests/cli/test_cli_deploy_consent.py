"""What `beanpole deploy` does only when a person agrees: downtime, another folder's environment, too many instances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deploying import PLAN, first
from toy_api import Run, Served, Toy, deployed_before

from beanpole.cli import crowd

DOWNTIME = PLAN | {"Downtime": True, "Notes": ["Stop-first: the web process listens on port 8000 whatever PORT says."]}


def test_downtime_wants_consent(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = DOWNTIME
    refused = run("deploy", "--yes")
    assert refused.status == 3
    assert "Stop-first: the web process listens on port 8000" in refused.err
    assert "--allow-downtime" in refused.err
    assert not toy.called("UpdateEnvironment")
    assert run("deploy", "--allow-downtime").status == 0
    assert len(toy.called("UpdateEnvironment")) == 1


def test_downtime_can_be_agreed_to_once_for_all(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.settings["shop-dev"]["beanpole:deployment", "AllowDowntime"] = "true"
    toy.plan = DOWNTIME
    assert run("deploy").status == 0


def test_downtime_is_asked_about_at_a_terminal(served: Served, toy: Toy, shop: Path, at_terminal: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = DOWNTIME
    done = at_terminal("deploy", types="n\n")
    assert done.status == 3
    assert "Requests will fail for a while. Deploy all the same? [y/N]" in done.out
    assert not toy.called("UpdateEnvironment")


STRANGE = "The environment shop-dev exists already, and this folder has not deployed to it"


def test_an_environment_of_another_folder_of_the_same_name_is_not_replaced(
    served: Served, toy: Toy, shop: Path, run: Run
) -> None:
    toy.add_environment("shop-dev")
    for words in (["deploy"], ["deploy", "--dry-run"], ["deploy", "--yes"]):
        done = run(*words)
        assert done.status == 3
        assert done.err == f"Error: {STRANGE}.\nRemedy: Say --environment shop-dev, or --application another.\n"
    assert not toy.objects
    assert not toy.called("UpdateEnvironment")
    assert run("deploy", "--environment", "shop-dev").status == 0
    assert "nothing was touched" in run("deploy").out  # the folder remembers it now


def test_whoever_names_the_application_means_its_environment(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.add_environment("shop-dev")
    assert run("deploy", "--application", "shop").status == 0
    assert len(toy.called("UpdateEnvironment")) == 1


def test_an_environment_of_another_folder_is_asked_about_at_a_terminal(
    served: Served, toy: Toy, shop: Path, at_terminal: Run
) -> None:
    toy.add_environment("shop-dev")
    toy.plan = PLAN
    rehearsed = at_terminal("deploy", "--dry-run")
    assert rehearsed.status == 0
    assert f"{STRANGE}: a deployment asks first." in rehearsed.out
    for answer in ("", "n\n", "\n"):
        assert at_terminal("deploy", types=answer).status == 3
    assert not toy.called("UpdateEnvironment")
    agreed = at_terminal("deploy", types="y\n")
    assert f"{STRANGE}. Deploy to it all the same? [y/N]" in agreed.out
    assert agreed.status == 0


def test_a_new_branch_does_not_deploy_to_the_environment_of_another(
    served: Served, toy: Toy, shop: Path, git: Callable[..., str], run: Run
) -> None:
    first(run)
    toy.add_environment("shop-live")
    git("checkout", "-q", "-b", "feature")
    assert "no default environment for the branch feature" in run("open").err
    for words in (["deploy"], ["deploy", "--dry-run"]):
        done = run(*words)
        assert done.status == 3
        assert "and the branch feature of this folder has not deployed to it" in done.err


def test_more_instances_than_the_machine_has_processors_for(
    served: Served, toy: Toy, shop: Path, run: Run, at_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "cpus", lambda: 1)
    words = "999 instances are more than 4 for each of the 1 CPUs of this machine"
    done = run("deploy", "--instances", "999")
    assert done.status == 2
    assert f"Error: {words}" in done.err
    rehearsed = run("deploy", "--instances", "999", "--dry-run")
    assert rehearsed.status == 0
    assert f"Warning: {words}" in rehearsed.err
    assert at_terminal("deploy", "--instances", "999", types="").status == 3
    assert not toy.objects
    assert run("deploy", "--instances", "999", "--yes").status == 0
