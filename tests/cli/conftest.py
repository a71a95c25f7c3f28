"""Commands as a person runs them, against the toy control plane."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_api import Done, Run, Served, Toy

from beanpole import cli
from beanpole.aws import models
from beanpole.cli import events, follow, logs

LOADER = models.client_loader()
"""One for all tests: it remembers the models, which take longest of all that a command does."""


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user who runs the tests: no keys, no proxies, no git settings, no display."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "BEANPOLE_", "GIT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "Jo")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "jo@example.org")
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(models, "client_loader", lambda: LOADER)
    monkeypatch.setattr(follow, "POLL", 0.01)
    monkeypatch.setattr(follow, "RETRY", 0.01)
    monkeypatch.setattr(events, "POLL", 0.01)
    monkeypatch.setattr(logs, "POLL", 0.01)


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def served(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The toy control plane, running; BEANPOLE_HOME names its home."""
    running = Served(toy, tmp_path / "home")
    running.start()
    monkeypatch.setenv("BEANPOLE_HOME", str(running.home.root))
    yield running
    running.begin_to_stop()  # its thread ends by itself; waiting for that would be half of the test's time
    running.home.unlock()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        written = capsys.readouterr()
        status = ended.value.code
        assert isinstance(status, int)
        return Done(status, written.out, written.err)

    return command


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command at a terminal whose user types the given lines; error and output are one screen."""

    def command(*words: str, types: str = "") -> Done:
        screen = Screen()
        with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
            patched.setattr(sys, "stdout", screen)
            patched.setattr(sys, "stderr", screen)
            patched.setattr(sys, "stdin", Screen(types))
            patched.setenv("TERM", "xterm-256color")
            patched.setenv("COLUMNS", "100")
            cli.main(words)
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, screen.getvalue(), "")

    return command


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application's folder without git, which is the current one."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "application.py").write_text("application = print\n")
    (folder / "requirements.txt").write_text("flask==3.1.0\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def git(shop: Path) -> Callable[..., str]:
    """Run git in the shop, which is a repository with one commit."""

    def command(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=shop, check=True, capture_output=True, text=True).stdout

    command("init", "-q", "-b", "main")
    command("add", ".")
    command("commit", "-q", "-m", "Open the shop")
    return command


@pytest.fixture
def shop_dev(toy: Toy, shop: Path) -> None:
    """The current folder's environment, which is there already."""
    toy.add_environment("shop-dev")
