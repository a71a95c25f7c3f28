"""A deployment is followed to its end, whatever happens to the control plane and to whoever looks."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from deploying import PLAN
from toy_api import Run, Served, Toy, deployed_before, frame, going_well, going_wrong

from beanpole.cli import follow
from beanpole.cli.client import Api


def test_failure_names_cause_and_remedy(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = going_wrong()
    done = run("deploy", "--json")
    assert done.status == 1
    assert done.json["outcome"] == "failed"
    assert done.json["error"]["last_lines"][-1] == "ModuleNotFoundError: No module named 'xgboost'"
    cause, remedy = done.err.splitlines()[-2:]
    assert cause == (
        "Error: The deployment of shop-dev failed. Activate failed on i-2: the process ended before it listened "
        "(command: gunicorn application:application) with exit status 3."
    )
    assert remedy == "Remedy: Add xgboost to requirements.txt."


def test_abort_by_somebody_else_is_a_failure(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = going_wrong("aborted")
    done = run("deploy")
    assert done.status == 1
    assert "The deployment of shop-dev was aborted and the environment is as it was before." in done.err


def test_survives_a_restart_of_the_control_plane(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed_before(toy, shop)
    noticed = threading.Event()
    look_again = Api.forget_endpoint

    def forget(api: Api) -> None:
        noticed.set()
        look_again(api)

    def restart() -> None:
        served.stop()
        assert noticed.wait(20)
        toy.operations[-1].frames = going_well()
        served.start()  # on another port

    thread = threading.Thread(target=restart)

    def kill() -> None:
        served.begin_to_stop()
        thread.start()

    toy.at_look[2] = kill
    toy.frames = [frame("forward", "running", "waiting")]
    monkeypatch.setattr(Api, "forget_endpoint", forget)
    done = run("deploy")
    thread.join(20)
    assert done.status == 0, done.err
    assert "Applications keep serving. Waiting up to 60 s for it." in done.err
    assert "The control plane answers again." in done.err
    assert done.out.count("update is starting.") == 1


def test_gives_up_when_the_control_plane_stays_away(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed_before(toy, shop)
    toy.frames = [frame("forward", "running", "waiting")]
    monkeypatch.setattr(follow, "PATIENCE", 0.05)
    thread = threading.Thread(target=served.stop)

    def kill() -> None:
        served.begin_to_stop()
        thread.start()

    toy.at_look[2] = kill
    done = run("deploy")
    thread.join(20)
    assert done.status == 4
    assert "What was begun is continued, or undone, when it runs again." in done.err


def test_ctrl_c_leaves_the_deployment_alone(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    done = run("deploy")
    assert done.status == 130
    assert "the operation goes on" in done.err
    assert "beanpole events -f shop-dev" in done.err
    assert "beanpole abort shop-dev" in done.err
    assert not toy.called("AbortEnvironmentUpdate")


def test_limit_of_following(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = [frame("forward", "running", "waiting")]
    done = run("deploy", "--timeout", "1")
    assert done.status == 1
    assert "It is not over after 1 s" in done.err


def test_drawn_at_a_terminal(served: Served, toy: Toy, shop: Path, at_terminal: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = PLAN
    toy.frames = going_wrong()
    done = at_terminal("deploy")
    assert done.status == 1
    assert "✗ Activate failed on i-2: the process ended before it listened" in done.out
    assert "ModuleNotFoundError: No module named 'xgboost'" in done.out
    assert "Add xgboost to requirements.txt." in done.out
    assert "\x1b[" in done.out
    assert "Plan: Rolling" in done.out
    assert "  1. Bring" not in done.out
