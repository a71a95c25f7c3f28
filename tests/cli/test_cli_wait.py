"""`--wait`: a busy environment is waited for, in words, with a limit, and only where somebody asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_api import Run, Served, Toy, deployed_before

from beanpole.cli import waiting
from beanpole.cli.waiting import spelled

Pauses = list[Callable[[], object]]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """What happens while the command pauses, one after the other; then nothing."""
    planned: Pauses = []

    def sleep(_seconds: float) -> None:
        if planned:
            planned.pop(0)()

    monkeypatch.setattr(waiting, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    return planned


def status(toy: Toy, word: str) -> Callable[[], None]:
    return lambda: toy.environments["shop-dev"].update(Status=word)


@pytest.fixture
def busy(toy: Toy, shop: Path, pauses: Pauses) -> None:
    """At the second look it is still busy, at the third it is not."""
    deployed_before(toy, shop)
    status(toy, "Updating")()
    pauses += [status(toy, "Aborting"), status(toy, "Ready")]


SAID = "shop-dev is Updating: waiting up to 900 s until it is Ready.\nshop-dev is Ready, after 0 s.\n"


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("words", ["scale 3", "rollback", "rebuild --yes"])
def test_it_waits_and_then_does_it(served: Served, toy: Toy, run: Run, words: str) -> None:
    done = run(*words.split(), "--wait")
    assert done.status == 0, done.err
    assert done.out.startswith(SAID)
    assert len(toy.operations) == 1


@pytest.mark.usefixtures("busy")
def test_a_deployment_looks_at_everything_anew_when_it_is_ready(served: Served, toy: Toy, run: Run) -> None:
    done = run("deploy", "--wait=60")
    assert done.status == 0, done.err
    assert "shop-dev is Updating: waiting up to 60 s" in done.out
    assert len(toy.called("CreateApplicationVersion")) == len(toy.called("UpdateEnvironment")) == 1


@pytest.mark.usefixtures("busy")
def test_without_it_nothing_is_waited_for(served: Served, toy: Toy, run: Run) -> None:
    done = run("deploy")
    assert (done.status, "The environment shop-dev is busy: Updating." in done.err) == (3, True)
    assert "--wait" in done.err
    refused = run("scale", "3")
    assert (refused.status, "--wait" in refused.err) == (3, True)
    assert not toy.operations


@pytest.mark.usefixtures("shop_dev")
def test_who_is_overtaken_waits_on(served: Served, toy: Toy, run: Run, pauses: Pauses) -> None:
    toy.frames = [{"Phase": "done", "Steps": [], "Outcome": "succeeded"}]
    # It is Ready when it is looked at, and somebody begins something before our call.
    original = toy.settings["shop-dev"]
    toy.settings["shop-dev"] = Overtaken(original, status(toy, "Updating"))
    pauses += [status(toy, "Ready")]
    done = run("scale", "3", "--wait")
    assert done.status == 0, done.err
    assert "shop-dev is Updating: waiting up to" in done.out
    assert len(toy.called("UpdateEnvironment")) == 2


class Overtaken(dict[tuple[str, str], str]):
    """Settings; while they are read for the first time, somebody else begins something."""

    def __init__(self, settings: dict[tuple[str, str], str], begins: Callable[[], None]) -> None:
        super().__init__(settings)
        self._begins: Callable[[], None] | None = begins

    def items(self) -> object:  # type: ignore[override]
        if self._begins is not None:
            self._begins()
            self._begins = None
        return super().items()


@pytest.mark.usefixtures("shop_dev")
def test_the_limit_and_what_is_not_worth_waiting_for(served: Served, toy: Toy, run: Run, pauses: Pauses) -> None:
    status(toy, "Updating")()
    pauses.append(lambda: time.sleep(1.01))
    done = run("scale", "3", "--wait=1", "--json")
    assert (done.status, done.out) == (3, "")
    assert "shop-dev is still Updating after 1 s. Nothing was begun." in done.err
    status(toy, "Terminating")()
    ended = run("scale", "3", "--wait")
    assert (ended.status, "there is nothing to wait for" in ended.err) == (3, True)
    assert not toy.called("UpdateEnvironment")
    assert run("scale", "3", "--wait=soon").status == 2


@pytest.mark.usefixtures("shop_dev")
def test_ctrl_c_while_waiting(served: Served, toy: Toy, run: Run, pauses: Pauses) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    status(toy, "Updating")()
    pauses.append(interrupt)
    done = run("rollback", "--wait")
    assert (done.status, "You stopped waiting; nothing was begun." in done.err) == (130, True)
    assert not toy.operations


def test_a_bare_one_takes_no_word() -> None:
    assert spelled(["scale", "--wait", "3"]) == ["scale", "--wait=900", "3"]
    assert spelled(["scale", "--wait=5", "3"]) == ["scale", "--wait=5", "3"]
    assert spelled(["ssh", "shop", "--", "x", "--wait"]) == ["ssh", "shop", "--", "x", "--wait"]
