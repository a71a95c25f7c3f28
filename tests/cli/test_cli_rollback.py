"""Going back: rollback and abort."""

from __future__ import annotations

import os
import signal

import pytest
from toy_api import Run, Served, Toy, frame, going_wrong

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_rollback_shows_the_differences_and_needs_no_number(served: Served, toy: Toy, run: Run) -> None:
    toy.differences = [{"What": "version", "From": "v1", "To": "v0"}]
    done = run("rollback")
    assert done.status == 0
    assert "Back to release 3 of shop-dev: version v0.\n  CHANGES  FROM  TO\n  version  v1    v0\n" in done.out
    assert "shop-dev is back on v0 (release 7) on 2 instances, after 4.2 s." in done.out
    assert toy.called("RollbackEnvironment") == [
        {"EnvironmentName": "shop-dev", "DryRun": True},
        {"EnvironmentName": "shop-dev", "ReleaseNumber": 3},
    ]


def test_rollback_rehearsed(served: Served, toy: Toy, run: Run) -> None:
    facts = run("rollback", "--to", "2", "--dry-run", "--json").json
    assert facts["back_to"] == 2
    assert toy.called("RollbackEnvironment") == [{"EnvironmentName": "shop-dev", "DryRun": True, "ReleaseNumber": 2}]


def test_rollback_asks_at_a_terminal(served: Served, toy: Toy, at_terminal: Run) -> None:
    refused = at_terminal("rollback", types="n\n")
    assert refused.status == 3
    assert "Roll back? [Y/n]" in refused.out
    assert len(toy.called("RollbackEnvironment")) == 1
    assert at_terminal("rollback", types="").status == 3  # Ctrl-D
    assert len(toy.called("RollbackEnvironment")) == 2
    assert at_terminal("rollback", types="\n").status == 0
    assert "Roll back?" not in at_terminal("rollback", "--yes").out


def test_rollback_that_fails(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = going_wrong()
    done = run("rollback")
    assert done.status == 1
    assert "The rollback of shop-dev failed." in done.err


def test_rollback_of_a_busy_environment(served: Served, toy: Toy, run: Run) -> None:
    toy.environments["shop-dev"]["Status"] = "Updating"
    done = run("rollback")
    assert done.status == 3
    assert "Must be Ready." in done.err
    assert "beanpole abort shop-dev" in done.err


@pytest.mark.parametrize(
    ("command", "message", "remedy"),
    [
        (
            ["rollback"],
            "Environment named shop-dev has no earlier release that passed and differs from what is running.",
            "`beanpole releases shop-dev` shows those that it has.",
        ),
        (
            ["rollback", "--to", "99"],
            "Environment named shop-dev has no release 99.",
            "`beanpole releases shop-dev` shows those that it has.",
        ),
        (
            ["abort"],
            "Environment named shop-dev has no operation in progress that can be aborted.",
            "`beanpole status shop-dev` shows how it is.",
        ),
        (
            ["abort"],
            "The update of environment shop-dev is being reverted already.",
            "Follow it with `beanpole events -f shop-dev`.",
        ),
        (
            ["abort"],
            "The update of environment shop-dev cannot be aborted any more: the instances that it replaced are being "
            "removed.",
            "`beanpole rollback shop-dev` goes back when it ended.",
        ),
        (
            ["promote"],
            "Environment named shop-dev has no new version that is being evaluated, so there is none to promote.",
            "`beanpole status shop-dev` shows how it is.",
        ),
    ],
)
def test_what_is_in_no_state_for_it(
    served: Served, toy: Toy, run: Run, command: list[str], message: str, remedy: str
) -> None:
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    toy.refuses = message
    done = run(*command)
    assert done.status == 3
    assert done.err.endswith(f"Error: {message}\nRemedy: {remedy}\n")


def test_abort_sees_it_go_back(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    done = run("abort")
    assert done.status == 0
    assert "The operation was aborted; shop-dev is as it was before" in done.out


def test_promote_sees_the_new_version_get_everything(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    done = run("promote")
    assert done.status == 0
    assert "shop-dev runs the new version" in done.out
    assert "promote" in run("--help").out


def test_nothing_to_abort(served: Served, run: Run) -> None:
    done = run("abort")
    assert done.status == 3
    assert "Nothing is under way in shop-dev" in done.err


def test_what_goes_back_already_cannot_be_aborted(served: Served, toy: Toy, run: Run) -> None:
    toy.frames = [going_wrong()[1]]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run("scale", "3").status == 130
    done = run("abort")
    assert done.status == 3
    assert "shop-dev is going back already." in done.err
