"""The end of an environment needs its name or consent, and is never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from toy_api import Run, Served, Toy

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_terminate_wants_consent(served: Served, toy: Toy, run: Run, at_terminal: Run) -> None:
    done = run("terminate", "shop-dev")
    assert done.status == 2
    assert "--yes" in done.err
    assert at_terminal("terminate", "shop-dev", types="shop\n").status == 2
    assert not toy.called("TerminateEnvironment")
    assert at_terminal("terminate", "shop-dev", types="shop-dev\n").status == 0
    assert len(toy.called("TerminateEnvironment")) == 1


def test_terminate_forgets_the_default(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    path = shop / ".elasticbeanstalk/config.yml"
    path.parent.mkdir()
    path.write_text("branch-defaults: {default: {environment: shop-dev}}\n")
    done = run("terminate", "--yes")
    assert done.status == 0
    assert "shop-dev is terminated, after 4.2 s." in done.out
    assert yaml.safe_load(path.read_text())["branch-defaults"]["default"]["environment"] is None


def test_terminate_does_not_guess(served: Served, toy: Toy, run: Run) -> None:
    assert run("terminate", "--yes").status == 2
    assert not toy.called("TerminateEnvironment")
