"""A control plane that cannot start says why and what to do, changes nothing, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from beanpole_site import HERE, Site, app, free_port
from stories import BRISK

from beanpole.home import Home

pytestmark = [pytest.mark.slow]


@pytest.fixture
def idle() -> Iterator[Site]:
    """A site whose control plane was never started."""
    made = Site()
    yield made
    made.end()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def attempt(home: Path, api_port: int, port: int, **environment: str) -> str:
    """What a start that fails says; it ends with exit status 1 and without a word on standard output."""
    kept = os.environ | {"PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"}
    words = [sys.executable, str(HERE / "up.py"), str(home), str(api_port), str(port)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=40, check=False, env=kept | environment)
    assert (done.returncode, done.stdout) == (1, "")
    first, *more = done.stderr.strip().splitlines()
    assert not more, done.stderr
    assert first.startswith("start failed: ")
    return first.removeprefix("start failed: ")


def nothing_runs(site: Site) -> None:
    assert site.processes() == []
    root = site.home.root
    assert [path for path in root.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)] == []
    assert not site.home.state.exists()
    assert not root.exists() or site.home.holder() is None


def test_a_port_of_the_api_that_is_taken(idle: Site, taken: int) -> None:
    said = attempt(idle.home.root, taken, idle.port)
    assert said.startswith(f"the API cannot listen on 127.0.0.1:{taken}: Address already in use. ")
    assert "--api-port" in said
    assert not idle.home.root.exists(), "the home was not there before"
    nothing_runs(idle)
    idle.start()
    assert idle.client().describe_environments()["Environments"] == []


def test_a_port_of_the_balancer_that_is_taken(idle: Site, taken: int) -> None:
    said = attempt(idle.home.root, idle.api_port, taken)
    assert said.startswith(f"the balancer does not start: port {taken} on 127.0.0.1 is taken by ")
    assert str(os.getpid()) in said
    assert said.endswith("Choose another one with --port.")
    nothing_runs(idle)
    idle.start()
    assert idle.get()[0] == 404


@pytest.mark.long
def test_an_envoy_that_is_missing_or_none(idle: Site) -> None:
    home = idle.home.root
    for wrong in ("/nowhere/envoy", str(idle.root), __file__):
        said = attempt(home, idle.api_port, idle.port, ENVOY_BIN=wrong)
        assert said == f"ENVOY_BIN names {wrong}, which is not a program. Let it name an Envoy, or unset it."
        assert not home.exists()
    said = attempt(home, idle.api_port, idle.port, ENVOY_BIN="/bin/false")
    assert said.startswith("the balancer does not start: Envoy ended at once")
    assert "ENVOY_BIN" in said
    nothing_runs(idle)
    idle.start()
    assert idle.get()[0] == 404


@pytest.mark.parametrize("below", ["", "deeper/home"])
@pytest.mark.long
def test_a_home_that_is_a_file(idle: Site, below: str) -> None:
    file = idle.root / "file"
    file.write_text("precious")
    said = attempt(file / below, idle.api_port, idle.port)
    assert said.startswith(f"the home {file / below} cannot be used: {file} is a file, not a folder. ")
    assert "--home" in said
    assert file.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes wherever it wants")
def test_a_home_that_is_not_writable(idle: Site) -> None:
    folder = idle.root / "theirs"
    folder.mkdir(mode=0o500)
    said = attempt(folder / "home", idle.api_port, idle.port)
    assert said.startswith(f"the home {folder / 'home'} cannot be written: Permission denied. ")
    assert list(folder.iterdir()) == []


def test_a_database_that_is_none_is_left_as_it_is(idle: Site) -> None:
    idle.home.root.mkdir()
    idle.home.database.write_text("my diary\n" * 1000)
    said = attempt(idle.home.root, idle.api_port, idle.port)
    assert said.startswith(f"the database {idle.home.database} cannot be used: file is not a database. ")
    assert idle.home.database.read_text() == "my diary\n" * 1000
    nothing_runs(idle)
    idle.home.database.unlink()


@pytest.mark.long
def test_a_second_control_plane_disturbs_neither_the_first_nor_its_applications(site: Site) -> None:
    site.create(app("probe", "v1"), settings=BRISK)
    assert site.process is not None
    state, before = site.home.state.read_text(), site.processes()
    with site.load(rate=50, path="/version") as run:
        said = attempt(site.home.root, free_port(), free_port())
        assert said.startswith(f"another control plane (pid {site.process.pid}) uses the home {site.home.root}. ")
        assert "beanpole down" in said

        other = Home(site.root / "other")
        assert "the API cannot listen" in attempt(other.root, site.api_port, free_port())
        assert "the balancer does not start: port" in attempt(other.root, free_port(), site.port)
    assert run.report["failed"] == 0
    assert site.home.state.read_text() == state
    assert site.processes() == before
    assert site.home.holder() == site.process.pid
    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"


@pytest.mark.long
def test_a_balancer_that_cannot_move_serves_on_where_it_is(site: Site, taken: int) -> None:
    site.create(app("probe", "v1"), settings=BRISK)
    site.stop()
    with site.load(rate=50, path="/version") as run:
        said = attempt(site.home.root, site.api_port, taken)
        assert said.startswith(f"the balancer does not start: port {taken} on 127.0.0.1 is taken by ")
    assert run.report["failed"] == 0
    site.start()
    assert site.get()[0] == 200
