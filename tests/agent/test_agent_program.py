"""The agent as a program: where it runs, when it refuses to, what it leaves behind when it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_site import HEALTH, Site, alive, eventually

from beanpole.fleet.agent_client import AgentRefused, AgentUnreachable
from beanpole.fleet.agent_program import agent_program


def refused(words: list[str]) -> tuple[int, str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def test_hello_says_who_is_there_and_the_home_is_private(site: Site, program: Path) -> None:
    hello = site.ask(lambda client: client.hello())

    assert hello["protocol"] == [1, 1]
    assert (hello["pid"], hello["store"], hello["role"]) == (site.pid, "store-1", "instance")
    assert program.stem.removeprefix("agent-") in hello["version"]
    assert stat.S_IMODE(site.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.home.stat().st_mode) == 0o700


def test_the_program_has_a_name_of_its_content_and_the_same_bytes_each_time(program: Path, tmp_path: Path) -> None:
    again = agent_program(tmp_path)

    assert again.name == program.name
    assert again.read_bytes() == program.read_bytes()
    assert "beanpole_agent/main.py" in zipfile.ZipFile(program).namelist()


def test_a_second_agent_on_the_same_home_is_refused(site: Site) -> None:
    status, words = refused(site.words(socket=str(site.sockets / "b.sock")))

    assert status == 3
    assert f"another agent (process {site.pid}) already serves the home {site.home}" in words


def test_a_second_agent_on_the_same_socket_is_refused(site: Site, new_site: Callable[..., Site]) -> None:
    other = new_site("other")

    status, words = refused(other.words(socket=str(site.socket)))

    assert status == 3
    assert f"already listens on {site.socket}" in words
    assert site.ask(lambda client: client.hello())["pid"] == site.pid


def test_a_home_that_cannot_be_written_is_refused(new_site: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    status, words = refused(new_site().words(home=str(tmp_path / "file" / "home")))

    assert status == 4
    assert "cannot be written to: Not a directory" in words


def test_a_damaged_home_is_refused_in_one_sentence(site: Site) -> None:
    site.end()
    (site.home / "processes.json").write_text("{")

    status, words = refused(site.words())

    assert status == 4
    assert f"{site.home / 'processes.json'} is damaged" in words
    assert words.count("\n") == 1


def test_a_socket_path_that_no_system_takes_is_refused(new_site: Callable[..., Site], tmp_path: Path) -> None:
    status, words = refused(new_site().words(socket=str(tmp_path / ("x" * 101))))

    assert status == 2
    assert "longer than 100 bytes" in words


def test_a_home_of_another_control_plane_is_refused_unless_forced(site: Site) -> None:
    site.end()

    status, words = refused(site.words(store="store-2"))
    assert status == 5
    assert "belongs to another control plane (store store-1)" in words

    site.store = "store-2"
    site.start("--force")
    assert site.job("preflight")["cpus"] > 0


def test_an_ended_agent_leaves_the_applications_running_and_no_socket(site: Site) -> None:
    site.prepare("r1")
    pid = site.run_web("r1")["pid"]

    assert site.end() == 0

    assert alive(pid)
    assert not site.socket.exists()
    with pytest.raises(AgentUnreachable):
        site.ask(lambda client: client.hello())


def test_shutdown_with_processes_answers_when_they_have_ended(site: Site) -> None:
    site.prepare("r1")
    pid = site.run_web("r1")["pid"]
    site.job("commit", release="r1", keep=[])

    site.ask(lambda client: client.shutdown(processes=True))

    assert not alive(pid)
    site.end()
    site.start()
    eventually("the boot target runs again", lambda: site.process("r1").get("state") == "running")


def test_what_is_no_request_of_ours_gets_a_sentence(site: Site) -> None:
    with pytest.raises(AgentRefused, match="this agent has no /nothing"):
        site.ask(lambda client: client.call("GET", "/nothing"))
    with pytest.raises(AgentRefused, match="/state takes GET"):
        site.ask(lambda client: client.call("POST", "/state", {}))
    with pytest.raises(AgentRefused, match="no kind of job 'dance'"):
        site.ask(lambda client: client.put_job("k", "dance", {}, 1))
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(site.socket))
        raw.sendall(b"PUT /jobs/k HTTP/1.1\r\nContent-Length: 3\r\n\r\n{{{")
        assert b"400 Bad Request" in raw.recv(4096)


def test_the_oldest_supported_python_runs_it(new_site: Callable[..., Site]) -> None:
    python = shutil.which("python3.9")
    if python is not None:
        done = subprocess.run([python, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True)
        python = done.stdout.strip() if done.returncode == 0 else None
    if python is None:
        candidates = sorted(
            Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.9.*/bin/python")
        )
        python = str(candidates[-1]) if candidates else None
    if python is None:
        pytest.skip("no Python 3.9 here")
    site = new_site(python=python).start()

    site.prepare("r1", {"web": f"{python} -S web.py", "worker": "sleep 100"})
    ready = site.run_web("r1")
    site.job("gate", release="r1", health=HEALTH, checks=2, interval=0.01, deadline=5)
    site.job("switch", release="r1", settle=0.1)
    site.job("commit", release="r1", keep=[])
    site.kill()
    site.start()

    assert site.job("preflight")["python"].startswith("3.9.")
    assert site.process("r1")["pid"] == ready["pid"]
    assert site.job("stop", release="r1", names=None, grace=5) == {"killed": False}


def test_shutdown_gives_the_processes_as_long_as_it_is_told(site: Site) -> None:
    stubborn = "trap 'touch ../asked' TERM; touch ../ready; while :; do sleep 0.1; done"
    site.prepare("r1", {"stubborn": stubborn})
    site.job("switch", release="r1", settle=0)
    eventually("it ignores signals", lambda: (site.home / "releases/r1/ready").exists())
    pid = site.process("r1", "stubborn")["pid"]

    # It has 30 seconds when nobody says anything, which is longer than this caller waits.
    site.ask(lambda client: client.call("POST", "/shutdown", {"processes": True, "grace": 0.5}, timeout=25.0))

    assert (site.home / "releases/r1/asked").exists()
    assert not alive(pid)


@pytest.mark.parametrize("grace", [True, "soon", None, float("nan")])
def test_a_grace_that_is_no_time_is_refused_and_ends_nothing(site: Site, grace: object) -> None:
    with pytest.raises(AgentRefused, match="grace must be a number of seconds"):
        site.ask(lambda client: client.call("POST", "/shutdown", {"processes": True, "grace": grace}))

    assert site.ask(lambda client: client.hello())["pid"] == site.pid


def test_a_second_shutdown_waits_for_the_first_and_signals_nobody_again(site: Site) -> None:
    line = "trap 'echo asked >> ../asked; sleep 0.5; exit 0' TERM; touch ../ready; while :; do sleep 0.1; done"
    site.prepare("r1", {"worker": line})
    site.job("switch", release="r1", settle=0)
    eventually("it waits for signals", lambda: (site.home / "releases/r1/ready").exists())

    async def twice() -> None:
        await asyncio.gather(*(site.client().shutdown(processes=True) for _ in range(2)))

    asyncio.run(twice())

    assert (site.home / "releases/r1/asked").read_text() == "asked\n"


def test_preflight_tells_the_whole_memory_too(site: Site) -> None:
    facts = site.job("preflight")

    assert facts["memory_total"] > facts["memory_available"] > 0
