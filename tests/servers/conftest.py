"""What the tests of servers share: the agent's program, sshds, folders for sockets."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd_site import Sshd, need_sshd

from beanpole.fleet.agent_program import agent_program

sys.path.insert(0, str(Path(__file__).parents[1] / "agent"))  # for its sites with real agents


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_program(tmp_path_factory.mktemp("program"))


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with a path that is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Starts sshds, which end after the test."""
    need_sshd()
    started: list[Sshd] = []

    def make(name: str = "sshd", more: str = "") -> Sshd:
        started.append(Sshd(tmp_path / name, more))
        return started[-1]

    yield make
    for sshd in started:
        sshd.stop()


@pytest.fixture
def sshd(new_sshd: Callable[..., Sshd]) -> Sshd:
    return new_sshd()
