"""`beanpole eb`: the EB CLI with our keys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_api import KEY, Served


def fake_eb(folder: Path) -> None:
    script = folder / "eb"
    script.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "<$AWS_PROFILE>"\nexit 7\n'
    )
    script.chmod(0o755)


def test_eb_gets_every_word_and_our_keys(served: Served, shop: Path, tmp_path: Path) -> None:
    fake_eb(tmp_path)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AWS_PROFILE": "work"}
    words = ["create", "-h", "--home", "x y", "--version", "--", "-i"]
    command = [sys.executable, "-m", "beanpole.cli", "--home", str(served.home.root), "eb", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines() == [*words, served.url, KEY.id, "<>"]
    assert done.returncode == 7


@pytest.mark.parametrize("words", [["--help"], ["create", "-h"], ["--version"]])
def test_eb_needs_no_control_plane_to_explain_itself(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    fake_eb(tmp_path)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "beanpole.cli", "--home", str(tmp_path / "none"), "eb", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines()[: len(words)] == words
    assert done.returncode == 7


def test_eb_warns_of_a_profile_that_outranks_our_keys(served: Served, shop: Path, tmp_path: Path) -> None:
    fake_eb(tmp_path)
    (shop / ".elasticbeanstalk").mkdir()
    (shop / ".elasticbeanstalk/config.yml").write_text("global: {profile: work}\n")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "beanpole.cli", "eb", "list"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert "names the profile work" in done.stderr


def test_eb_is_fetched_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from beanpole.cli.eb import environment_for, program

    monkeypatch.setattr("shutil.which", lambda name: None)
    uv, *words = program()
    assert Path(uv).name == "uv"
    assert words == ["tool", "run", "--from", "awsebcli==3.27.5", "eb"]
    behind_proxy = environment_for({"HTTPS_PROXY": "http://p", "NO_PROXY": "x"}, {})
    assert behind_proxy["NO_PROXY"] == behind_proxy["no_proxy"] == "x,127.0.0.1,localhost"
