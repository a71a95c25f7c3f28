"""What `beanpole deploy` refuses, with a remedy and before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from deploying import first
from toy_api import Run, Served, Toy, deployed_before


@pytest.mark.parametrize(("words", "remedy"), [([], "--application"), (["--application", "東京"], "--environment")])
def test_a_folder_of_whose_name_nothing_can_be_made(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], remedy: str
) -> None:
    shop.rename(shop.with_name("東京"))
    monkeypatch.chdir(shop.with_name("東京"))
    done = run("deploy", *words)
    assert done.status == 2
    assert f"Remedy: Say {remedy} NAME." in done.err
    assert not toy.objects


def test_a_label_stands_for_one_content(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    assert first(run, "--label", "v1") == "v1"
    (shop / "application.py").write_text("application = repr\n")
    done = run("deploy", "--label", "v1")
    assert done.status == 3
    assert "The version v1 is there already, with other content." in done.err


def test_busy_environment(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop, Status="Updating")
    done = run("deploy")
    assert done.status == 3
    assert "busy: Updating" in done.err
    assert "beanpole abort shop-dev" in done.err
    assert not toy.objects


def test_environment_of_another_application(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.add_environment("shop-dev", application="bakery")
    done = run("deploy")
    assert done.status == 3
    assert "belongs to the application bakery" in done.err


def test_settings_that_the_api_refuses_are_wrong_usage(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    done = run("deploy", "--option", "a:b:Nonsense=1")
    assert done.status == 2
    assert "Error: Configuration validation exception: Nonsense." in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "COLOUR"], "--env takes NAME=VALUE"),
        (["--option", "Name=1"], "--option takes NAMESPACE:NAME=VALUE"),
        (["--environment", "x"], "'x' is no name for an environment"),
        (["--application", "a/b"], "'a/b' is no name for an application"),
        (["--label", "a/b"], "'a/b' is no label for a version"),
        (["--policy", "blue"], "blue"),
        (["--instances", "0"], "--instances"),
        (["nowhere"], "There is no folder nowhere."),
    ],
)
def test_wrong_usage(served: Served, toy: Toy, shop: Path, run: Run, words: list[str], said: str) -> None:
    done = run("deploy", *words)
    assert done.status == 2
    assert said in done.err
    assert not toy.objects


def test_unknown_python(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    done = run("deploy", "--python", "2.7")
    assert done.status == 3
    assert "The control plane has no Python 2.7" in done.err
    assert "3.11, 3.12" in done.err
