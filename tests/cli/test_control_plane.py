"""`beanpole up` and `down` as processes, with a stand-in for the server: what starts, what is said, what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beanpole.cli.holder import holder_of
from beanpole.cli.leftovers import leftovers
from beanpole.home import Home, HomeUnusable

FAKES = Path(__file__).with_name("fakes")

Beanpole = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path / "home")
    yield found
    holder = holder_of(found)
    if holder is not None:
        os.kill(holder, signal.SIGKILL)


@pytest.fixture
def beanpole(home: Home) -> Beanpole:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(FAKES), "BEANPOLE_HOME": str(home.root)}
        line = [sys.executable, "-m", "beanpole.cli", *words]
        return subprocess.run(
            line, capture_output=True, text=True, env=environment, timeout=60, stdin=subprocess.DEVNULL
        )

    return command


def test_up_and_down(home: Home, beanpole: Beanpole) -> None:
    up = beanpole("up", "--detach", "--api-port", "0", "--json")
    assert up.returncode == 0, up.stderr
    pid = json.loads(up.stdout)["pid"]
    assert pid == home.holder()
    assert os.getsid(pid) == pid
    assert home.log.stat().st_mode & 0o777 == 0o600
    assert "Beanpole is up: API http://127.0.0.1:" in home.log.read_text()

    again = beanpole("up", "--detach", "--api-port", "0")
    assert again.returncode == 3
    assert f"A control plane (pid {pid}) runs on {home.root} already." in again.stderr

    down = beanpole("down")
    assert down.returncode == 0
    assert f"The control plane (pid {pid}) has stopped.\nApplications keep serving." in down.stdout
    assert home.holder() is None

    nothing = beanpole("down", "--json")
    assert nothing.returncode == 0
    assert json.loads(nothing.stdout) == {"stopped": None, "ended": None}


def test_down_all(home: Home, beanpole: Beanpole) -> None:
    assert beanpole("up", "--detach", "--api-port", "0").returncode == 0
    down = beanpole("down", "--all")
    assert down.returncode == 0, down.stderr
    assert down.stdout.endswith("Ended: i-1, edge. Nothing is left running.\n")


def test_down_all_finds_what_is_left(home: Home, beanpole: Beanpole, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home.instances / "i-1"
    folder.mkdir(parents=True)
    left = subprocess.Popen(["sleep", "60"], cwd=folder)
    try:
        down = beanpole("down", "--all")
        assert [each.pid for each in leftovers(home.root)] == [left.pid]
    finally:
        left.kill()
        left.wait()
    assert down.returncode == 1
    assert f"are still there: sleep (pid {left.pid})." in down.stderr
    assert leftovers(home.root) == []


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_start_that_fails_says_why(home: Home, beanpole: Beanpole, detach: list[str]) -> None:
    failed = beanpole("up", "--domain", "taken", *detach)
    assert failed.returncode == 1
    assert failed.stderr == (
        "Error: The API cannot listen on 127.0.0.1:8600: Address already in use.\nRemedy: Choose another port.\n"
    )
    assert home.holder() is None


def test_a_start_that_dies_shows_its_last_words(home: Home, beanpole: Beanpole) -> None:
    failed = beanpole("up", "--domain", "dies", "--detach")
    assert failed.returncode == 1
    assert "The control plane ended with status 9: half a word." in failed.stderr
    assert str(home.log) in failed.stderr


@pytest.mark.parametrize("below", ["", "below"])
def test_a_home_that_is_a_file(tmp_path: Path, beanpole: Beanpole, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    for command in (["up", "--detach"], ["up"], ["down"], ["status"]):
        failed = beanpole(*command, "--home", str(file / below))
        assert failed.returncode == (4 if command == ["status"] else 3)
        assert f"cannot be used: {file} is a file, not a folder.\nRemedy: Name another home" in failed.stderr


def test_a_home_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HomeUnusable, match="file is a file, not a folder"):
        Home(tmp_path / "file" / "home").make()


@pytest.mark.long
def test_the_next_start_is_where_the_last_one_was(home: Home, beanpole: Beanpole) -> None:
    first = beanpole("up", "--detach", "--api-port", "0", "--port", "8097", "--json")
    assert first.returncode == 0, first.stderr
    assert "moves" not in first.stderr
    api = json.loads(first.stdout)["api"]
    assert beanpole("down").returncode == 0
    again = beanpole("up", "--detach", "--json")
    assert json.loads(again.stdout)["balancer"] == "http://127.0.0.1:8097"
    assert json.loads(again.stdout)["api"] == api
    assert "moves" not in again.stderr
    assert beanpole("down").returncode == 0
    moved = beanpole("up", "--detach", "--port", "8098")
    assert "The balancer moves from port 8097 to 8098, and with it every URL." in moved.stdout


def test_ports_that_cannot_be_read_are_not_guessed(home: Home, beanpole: Beanpole) -> None:
    home.make()
    home.ports.write_text("nonsense")
    failed = beanpole("up", "--detach")
    assert failed.returncode == 1
    assert f"{home.ports} cannot be read" in failed.stderr
    assert "say --port and --api-port once more" in failed.stderr


def test_in_the_foreground_until_interrupted(home: Home) -> None:
    environment = os.environ | {"PYTHONPATH": str(FAKES), "BEANPOLE_HOME": str(home.root)}
    line = [sys.executable, "-m", "beanpole.cli", "up", "--api-port", "0", "--port", "8099"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert "applications at http://NAME.localhost:8099." in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert "The control plane has stopped; applications keep serving." in rest
    assert process.returncode == 0


def test_homes_of_other_tests_are_not_ours() -> None:
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as folder:
        assert leftovers(Path(folder)) == []


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_password_is_not_taken_from_the_command_line(home: Home, beanpole: Beanpole, detach: list[str]) -> None:
    refused = beanpole("up", "--database", "postgresql://ada:s3sam@db/shop", *detach)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "Error: A password on the command line can be read by everybody on this machine.\n"
    )
    assert "BEANPOLE_DATABASE" in refused.stderr
    assert "s3sam" not in refused.stdout + refused.stderr
    assert not home.root.exists()


def test_what_is_no_address_of_a_database_is_refused(home: Home, beanpole: Beanpole) -> None:
    refused = beanpole("up", "--database", "mysql://db/shop")
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: A database of the kind mysql is not supported, PostgreSQL is.\nRemedy: ")
    assert not home.root.exists()


def test_nothing_moves_from_a_home_that_has_no_store(home: Home, beanpole: Beanpole) -> None:
    refused = beanpole("up", "--move", "--database", "postgresql://ada@db/shop")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: The home {home.root} has no store in a file.\nRemedy: Start it without --move.\n"
    )
    assert not home.root.exists()
    refused = beanpole("up", "--move")
    assert refused.returncode == 2
    assert "Name an empty database with --database." in refused.stderr
