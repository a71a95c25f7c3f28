"""A copy of an environment, by one call of the API."""

from __future__ import annotations

import pytest
from toy_api import Run, Served, Toy

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_clone(served: Served, toy: Toy, run: Run) -> None:
    done = run("clone", "shop-dev", "shop-b", "--version", "v1")
    assert done.status == 0, done.err
    assert "shop-b is up with v1" in done.out
    (created,) = toy.called("CreateEnvironment")
    assert created == {
        "ApplicationName": "shop",
        "EnvironmentName": "shop-b",
        "VersionLabel": "v1",
        "TemplateSpecification": {"TemplateSource": {"EnvironmentName": "shop-dev"}},
    }


def test_clones_that_cannot_be(served: Served, toy: Toy, run: Run) -> None:
    assert run("clone", "shop-dev").status == 2
    assert run("clone", "shop-dev", "-b").status == 2
    none = run("clone", "shop-dew", "shop-b")
    assert (none.status, "shop-dev" in none.err) == (3, True)
    there = run("clone", "shop-dev", "shop-dev")
    assert (there.status, "There is an environment shop-dev already." in there.err) == (3, True)
    assert not toy.called("CreateEnvironment")
