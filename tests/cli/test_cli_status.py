"""Commands that only look: status, list, releases, open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_api import Run, Served, Toy

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_status_shows_control_plane_and_environments(served: Served, run: Run) -> None:
    done = run("status")
    assert done.status == 0
    assert f"Control plane  running (pid {os.getpid()}) at {served.url}, version 0.1.0" in done.out
    assert "  shop-dev  shop         Ready   Ok      v1       http://shop-dev.localhost:8080" in done.out
    facts = run("status", "--json").json
    assert facts["control_plane"]["pid"] == os.getpid()
    assert facts["environments"][0]["environment"] == "shop-dev"


def test_status_of_one_environment(served: Served, run: Run) -> None:
    done = run("status", "shop-dev")
    assert done.status == 0
    for words in (
        "Health         Warning\n               1 of 2 is slow.",
        "Version        v1 (release 7)",
        "URL            http://shop-dev.localhost:8080",
        "Requests       12,345 served, 1 failed in all",
        "i-1       Ok       7        v1       Deployed  60/min",
        "i-2       Warning                                        Slow.",
    ):
        assert words in done.out
    facts = run("status", "shop-dev", "--json").json
    assert facts["release"] == 7
    assert facts["causes"] == ["1 of 2 is slow."]
    assert [each["instance"] for each in facts["instances"]] == ["i-1", "i-2"]


def test_an_unknown_environment_names_the_nearest(served: Served, toy: Toy, run: Run) -> None:
    toy.add_environment("bakery-live", "bakery")
    done = run("status", "shop-dve")
    assert done.status == 3
    assert done.err == "Error: There is no environment shop-dve.\nRemedy: Did you mean shop-dev?\n"
    assert "Known: bakery-live, shop-dev." in run("releases", "zzz").err


def test_list_marks_the_default(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.add_environment("bakery-live", "bakery")
    folder = shop / ".elasticbeanstalk"
    folder.mkdir()
    (folder / "config.yml").write_text("branch-defaults: {default: {environment: shop-dev}}\n")
    lines = run("list").out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["", "* shop-dev"]
    only = run("list", "--application", "bakery", "--json").json
    assert [each["environment"] for each in only["environments"]] == ["bakery-live"]


def test_list_of_an_unknown_application_names_the_nearest(served: Served, toy: Toy, run: Run) -> None:
    done = run("list", "--application", "shpo")
    assert done.out == "No environment belongs to an application shpo. Did you mean shop?\n"
    assert run("list", "--application", "shpo", "--json").json == {"environments": []}


def test_a_broken_config_is_only_warned_of_where_it_is_not_needed(served: Served, shop: Path, run: Run) -> None:
    (shop / ".elasticbeanstalk").mkdir()
    (shop / ".elasticbeanstalk/config.yml").write_text("a: [")
    for command in (["list"], ["status"], ["status", "shop-dev"], ["terminate", "shop-dev", "--yes"]):
        done = run(*command)
        assert done.status == 0, done.err
        assert "shop-dev" in done.out
        assert ("Warning: " in done.err) == (command != ["status", "shop-dev"])
    assert run("open").status == 3


def test_releases(served: Served, run: Run) -> None:
    lines = run("releases").out.splitlines()
    assert lines[1].split() == ["*", "7", "v1", "2026-11-02", "12:00:00", "2026-11-02", "12:00:00", "abcdef01"]
    assert lines[2].split() == ["6", "v0", "2026-11-02", "12:00:00", "never", "01234567"]
    assert run("releases", "--json").json["releases"][0]["current"] is True


def test_open_prints_the_url(served: Served, run: Run) -> None:
    assert run("open").out == "http://shop-dev.localhost:8080\n"
    assert run("open", "--json").json["url"] == "http://shop-dev.localhost:8080"


def test_no_default_environment_for_a_branch(
    served: Served, toy: Toy, shop: Path, git: Callable[..., str], run: Run
) -> None:
    toy.add_environment("shop-live")
    assert "This folder has no default environment for the branch main." in run("open").err


def test_no_default_environment(served: Served, toy: Toy, run: Run) -> None:
    toy.add_environment("shop-live")
    done = run("open")
    assert done.status == 2
    assert done.err.startswith("Error: This folder has no default environment.\n")
    assert "Name one of: shop-dev, shop-live." in done.err
