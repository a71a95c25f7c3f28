"""`.elasticbeanstalk/config.yml`: shared with the EB CLI, key by key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from beanpole.cli.errors import WrongState
from beanpole.cli.workspace import Workspace

OF_EB = """\
branch-defaults:
  main:
    environment: shop-live
    group_suffix: blue
environment-defaults:
  shop-live: {branch: null}
deploy:
  artifact: build/app.zip
global:
  application_name: The Shop
  default_platform: Python 3.11 running on 64bit Amazon Linux 2023
  default_region: eu-west-1
  profile: eb-cli
  sc: git
  workspace_type: Application
"""

FACTS = {"application": "shop", "environment": "shop-dev", "platform": "Python 3.11", "region": "local-1"}


def config(folder: Path, text: str) -> Path:
    path = folder / ".elasticbeanstalk/config.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_reads_what_eb_wrote(shop: Path, git: Callable[..., str]) -> None:
    config(shop, OF_EB)
    found = Workspace.at(shop)
    assert found.application == "The Shop"
    assert found.environment == "shop-live"
    assert found.platform == "Python 3.11 running on 64bit Amazon Linux 2023"
    assert found.artifact == Path("build/app.zip")
    assert found.profile == "eb-cli"


def test_what_was_chosen_before_stays(shop: Path, git: Callable[..., str]) -> None:
    path = config(shop, OF_EB)
    assert Workspace.at(shop).remember(**FACTS)
    after, before = yaml.safe_load(path.read_text()), yaml.safe_load(OF_EB)
    for section in ("branch-defaults", "environment-defaults", "deploy"):
        assert after[section] == before[section]
    assert before["global"].items() <= after["global"].items()
    assert not Workspace.at(shop).remember(**FACTS)


def test_each_branch_has_its_environment(shop: Path, git: Callable[..., str]) -> None:
    Workspace.at(shop).remember(**FACTS)
    assert Workspace.at(shop).branch == "main"
    git("checkout", "-q", "-b", "feature/x")
    assert Workspace.at(shop).environment is None
    Workspace.at(shop).remember(**FACTS | {"environment": "shop-x"})
    assert Workspace.at(shop).environment == "shop-x"
    git("checkout", "-q", "main")
    assert Workspace.at(shop).environment == "shop-dev"


def test_detached_and_unborn_heads_are_the_default_branch(shop: Path, git: Callable[..., str]) -> None:
    git("checkout", "-q", "--detach")
    assert Workspace.at(shop).branch == "default"
    git("checkout", "-q", "--orphan", "new")
    assert Workspace.at(shop).branch == "default"


def test_a_terminated_environment_is_nobodys_default(shop: Path) -> None:
    Workspace.at(shop).remember(**FACTS)
    assert Workspace.at(shop).forget("shop-dev")
    assert Workspace.at(shop).environment is None
    assert not Workspace.at(shop).forget("shop-dev")


def test_found_from_below_but_not_from_the_home_folder(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(shop, OF_EB)
    below = shop / "a/b"
    below.mkdir(parents=True)
    assert Workspace.around(below).root == shop
    monkeypatch.setenv("HOME", str(shop))
    assert Workspace.around(below).root == below


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "\x00"])
def test_a_file_that_cannot_be_understood_is_named(shop: Path, text: str) -> None:
    path = config(shop, text)
    with pytest.raises(WrongState, match=str(path)):
        Workspace.at(shop)


@pytest.mark.parametrize(
    ("text", "where"), [("a: 1\nb: [\n", "line 3: "), ("a: 1\n\tb: 2\n", "line 2: "), ("a: \x00", "character 4: ")]
)
def test_the_place_of_the_mistake_is_named(shop: Path, text: str, where: str) -> None:
    path = config(shop, text)
    with pytest.raises(WrongState) as refused:
        Workspace.at(shop)
    assert refused.value.cause.startswith(f"{path} is not YAML: {where}")
    assert "unicode string" not in refused.value.cause


def test_what_cannot_be_understood_is_no_reason_to_fail_where_it_is_not_needed(shop: Path) -> None:
    path = config(shop, "a: [")
    said: list[str] = []
    found = Workspace.nearby(shop, said.append)
    assert found.environment is None
    assert not found.forget("shop-dev")
    assert path.read_text() == "a: ["
    assert said == [
        f"Warning: {path} is not YAML: line 1: while parsing a flow node, expected the node content, but "
        "found '<stream end>'. Correct it, or delete it and deploy again."
    ]


@pytest.mark.parametrize("text", ["", "global:\nbranch-defaults:\n", "global: 3\nbranch-defaults: {default: null}\n"])
def test_empty_sections_are_filled(shop: Path, text: str) -> None:
    config(shop, text)
    Workspace.at(shop).remember(**FACTS)
    found = Workspace.at(shop)
    assert (found.application, found.environment) == ("shop", "shop-dev")


def test_the_mode_of_the_file_stays(shop: Path) -> None:
    path = config(shop, OF_EB)
    path.chmod(0o640)
    Workspace.at(shop).remember(**FACTS)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["config.yml"]
