"""The real script in the shells that servers have, with tools missing and sudo in every mood."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from beanpole.fleet.servers.facts import Facts, script
from beanpole.fleet.servers.reading import FactsUnreadable, parse

pytestmark = pytest.mark.long

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
TOOLS = ("cat", "date", "df", "getconf", "grep", "id", "ls", "od", "sed", "sh", "sleep", "sort", "tr", "uname")
LIMIT = 60


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words = SHELLS[request.param]
    found = shutil.which(words[0])
    if found is None:
        pytest.skip(f"{words[0]} is not installed")
    return [found, *words[1:], "-s"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with what POSIX promises: no Python, no sudo, no systemctl."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    return folder


def program(folder: Path, name: str, text: str) -> None:
    # Never through one of the links above: they lead to the machine's own programs.
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def answer(shell: list[str], path: Path, text: str | None = None) -> str:
    done = subprocess.run(
        shell,
        input=script() if text is None else text,
        env={"PATH": str(path), "HOME": "/"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def look(shell: list[str], path: Path) -> Facts:
    return parse(answer(shell, path))


def test_a_server_with_nothing_but_posix_tools(shell: list[str], path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = look(shell, path)
        port = server.getsockname()[1]
    assert facts.unfinished == ()
    assert facts.uid == os.getuid()
    assert facts.architecture == os.uname().machine
    assert facts.host_name == os.uname().nodename
    assert facts.sudo == "missing"
    assert facts.systemd is None
    assert facts.pythons == ()
    assert facts.memory_total is not None
    assert facts.clock_began is not None
    assert facts.clock_ended is not None
    assert facts.clock_began <= facts.clock_ended
    assert facts.listening is not None
    assert ("127.0.0.1", port) in [(listener.address, listener.port) for listener in facts.listening]


def test_disks_are_those_of_the_nearest_folders_that_exist(shell: list[str], path: Path) -> None:
    facts = look(shell, path)
    assert [disk.path for disk in facts.disks] == ["/var/lib/beanpole", "/var/lib", "/etc", "/tmp", "/var/app"]
    for disk in facts.disks:
        assert Path(disk.folder).is_dir()
        assert Path(disk.path).is_relative_to(disk.folder)
        assert disk.free is not None
        assert disk.mount_point is not None


def test_interpreters_say_what_they_are(shell: list[str], path: Path) -> None:
    program(path, "python3", f'exec {os.path.realpath(sys.executable)} "$@"')
    program(path, "python3.9", "echo no such version installed >&2; exit 127")
    facts = look(shell, path)
    assert facts.pythons is not None
    assert [Path(python.path).name for python in facts.pythons] == ["python3", "python3.9"]
    assert facts.pythons[0].version == sys.version_info[:3]
    assert facts.pythons[1].version is None


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("cat >/dev/null; echo 'sudo: a password is required' >&2; exit 1", "password"),
        ("echo 'sudo: interactive authentication is required' >&2; exit 1", "password"),
        ("echo 'pets is not in the sudoers file.' >&2; exit 1", "no"),
        ("echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1", "no"),
        ("echo 'sudo: unable to resolve host ml1' >&2; echo 0", "yes"),
    ],
)
def test_sudo_in_every_mood(shell: list[str], path: Path, body: str, state: str) -> None:
    program(path, "sudo", body)
    facts = look(shell, path)
    assert (facts.sudo, facts.unfinished) == (state, ())


def test_sudo_is_never_asked_with_a_question(shell: list[str], path: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    program(path, "sudo", f'printf "%s\\n" "$1" >>{asked}; shift; [ "$1" = id ] && echo 0 && exit; exec "$@"')
    facts = look(shell, path)
    assert facts.sudo == "yes"
    assert set(asked.read_text().split()) == {"-n"}
    assert any(disk.writable is not None for disk in facts.disks)


def test_a_sudo_that_hangs_costs_only_its_own_facts(shell: list[str], path: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program(path, "sudo", f"echo $$ >{pid}; exec sleep {LIMIT}")
    short = script().replace("limit=15 ", "limit=2 ")
    assert short != script()
    try:
        facts = parse(answer(shell, path, short))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert "rights" in facts.unfinished
    assert facts.sudo is None
    assert facts.clock_ended is not None


def test_services_and_failures_of_systemd(shell: list[str], path: Path) -> None:
    program(
        path,
        "systemctl",
        """case "$*" in
--version) echo 'systemd 252 (252.38-1)'; echo '+PAM' ;;
is-system-running) echo degraded; exit 1 ;;
*list-units) printf '%s\\n' 'pets.service loaded active running Pets' 'a\\x2db.service loaded active running B' \
    'session-1.scope loaded active running S' 'data.mount loaded failed failed D' ;;
*"show pets.service a\\x2db.service") printf '%s\\n' Id=pets.service MainPID=5 '' \
    'Id=a\\x2db.service' MainPID=6 ;;
*) exit 3 ;;
esac""",
    )
    facts = look(shell, path)
    assert (facts.systemd, facts.systemd_state, facts.failed_units) == (252, "degraded", ("data.mount",))
    assert [(service.unit, service.pid) for service in facts.services or ()] == [
        ("pets.service", 5),
        ("a\\x2db.service", 6),
    ]


def test_ports_without_a_fitting_ss_come_from_the_kernel(shell: list[str], path: Path) -> None:
    program(path, "ss", "echo 'ss: no such option' >&2; exit 255")
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = look(shell, path)
        assert server.getsockname()[1] in [listener.port for listener in facts.listening or ()]


def test_half_a_script_does_nothing(shell: list[str], path: Path, tmp_path: Path) -> None:
    called = tmp_path / "called"
    program(path, "id", f"echo >{called}")
    text = script()
    for part in (1, 2, 3):
        said = subprocess.run(
            shell,
            input=text[: len(text) * part // 4],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        ).stdout
        with pytest.raises(FactsUnreadable):
            parse(said)
    assert not called.exists()


def test_a_banner_without_a_line_end_does_no_harm(shell: list[str], path: Path) -> None:
    facts = parse(answer(shell, path, "printf 'Welcome! > '\n" + script() + "\necho bye\n"))
    assert facts.unfinished == ()
    assert facts.uid == os.getuid()
