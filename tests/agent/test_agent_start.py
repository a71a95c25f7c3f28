"""The jobs start and gate: a release that works, and in words of its users why another does not."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_site import HEALTH, PYTHON, WEB, Site, alive, eventually

from beanpole.fleet.agent_client import JobCancelled, JobFailed

LISTENER = """
import os, socket, time
with socket.create_server(("127.0.0.1", 0)) as server:
    print("listening on", server.getsockname()[1], flush=True)
    time.sleep(300)
"""


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """A shared agent with nothing running when a test is over."""
    yield shared_site
    for each in shared_site.state()["processes"]:
        if each["state"] != "stopped":
            shared_site.job("stop", release=each["release"], names=None, grace=2)


def get(address: str, port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status, answer.read().decode().strip()


def failure(site: Site, release: str, **more: Any) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        site.run_web(release, **more)
    assert caught.value.stage == "start"
    assert site.process(release).get("pid") is None
    return caught.value


def test_a_release_starts_beside_the_running_one(site: Site) -> None:
    old = site.run_web(site.prepare("old", environment={"BODY": "old"}))
    new = site.run_web(site.prepare("new", environment={"BODY": "new"}))

    assert get(old["address"], old["port"]) == (200, "old")
    assert get(new["address"], new["port"]) == (200, "new")
    assert all(20000 <= ready["port"] <= 29999 for ready in (old, new))
    assert site.run_web("new")["pid"] == new["pid"]


@pytest.mark.parametrize(
    ("bind", "address"), [("127.0.0.7", "127.0.0.7"), ("127.0.0.1", "127.0.0.1"), ("", "127.0.0.7")]
)
def test_the_address_is_where_it_listens(site: Site, bind: str, address: str) -> None:
    release = site.prepare(f"bound-to-{bind or 'all'}", environment={"BIND": bind})

    ready = site.run_web(release)

    assert ready["address"] == address
    assert get(address, ready["port"]) == (200, "fine")
    assert site.process(release)["address"] == address


def test_a_process_sees_its_properties_and_nothing_of_the_agents_surroundings(site: Site) -> None:
    show = f"{PYTHON} -c 'import os; print(sorted(os.environ.items()))'; exec {PYTHON} web.py"
    release = site.prepare(
        "r-env", {"web": show}, environment={"COLOR": "red", "PORT": "1", "PATH": "/opt/x:/bin:/usr/bin"}
    )

    ready = site.run_web(release)

    seen = dict(eval(site.log("web.stdout.log").splitlines()[-2]))
    assert (seen["COLOR"], seen["PORT"]) == ("red", str(ready["port"]))
    assert (seen["PATH"], seen["PYTHONUNBUFFERED"]) == ("/opt/x:/bin:/usr/bin", "1")
    assert "SECRET_OF_THE_CALLER" not in seen


def test_a_missing_package_is_named(site: Site) -> None:
    release = site.prepare("r-import", texts={"web.py": "import tensorflow_of_yesterday\n"})

    error = failure(site, release)

    assert "web ended after" in error.message
    assert "(exit status 1) before it was ready on port" in error.message
    assert error.exit_status == 1
    assert error.last_lines[-1] == "ModuleNotFoundError: No module named 'tensorflow_of_yesterday'"
    assert error.remedy.startswith("No module named 'tensorflow_of_yesterday': add it to requirements.txt")
    assert error.command == f"{PYTHON} web.py"


def test_a_missing_command_is_named(site: Site) -> None:
    error = failure(site, site.prepare("r-command", {"web": "gunicorn-x --bind :$PORT app"}))

    assert error.exit_status == 127
    assert "gunicorn-x is not installed here" in error.remedy


def test_a_command_that_ends_well_is_told_to_stay(site: Site) -> None:
    error = failure(site, site.prepare("r-daemon", {"web": "true"}))

    assert "(exit status 0)" in error.message
    assert "foreground" in error.remedy


def test_a_killed_process_is_said_to_be_killed(site: Site) -> None:
    error = failure(site, site.prepare("r-killed", {"web": "kill -9 $$"}))

    assert "(signal SIGKILL)" in error.message
    assert "memory" in error.remedy
    assert error.exit_status is None


def test_one_that_listens_elsewhere_is_told_where(site: Site) -> None:
    error = failure(site, site.prepare("r-elsewhere", texts={"web.py": LISTENER}), deadline=0.5)

    port = site.log("web.stdout.log").split()[-1]
    assert "did not listen on port" in error.message
    assert f"it listens on 127.0.0.1:{port}" in error.message
    assert "PORT" in error.remedy


def test_one_that_listens_nowhere_is_told_so(site: Site) -> None:
    error = failure(site, site.prepare("r-nowhere", {"web": "echo thinking; exec sleep 300"}), deadline=0.2)

    assert error.message.endswith("within 0.2 s; it listens on no port")
    assert error.last_lines == ("thinking",)


def test_an_error_page_is_quoted(site: Site) -> None:
    release = site.prepare("r-500", environment={"STATUS": "500", "BODY": "database is down"})

    error = failure(site, release, deadline=0.3)

    assert "GET / answered 500 Internal Server Error: database is down" in error.message
    assert error.last_lines == ("database is down", "web begins")
    assert "200-399" in error.remedy


def test_without_a_health_path_taking_connections_is_enough(site: Site) -> None:
    release = site.prepare("r-tcp", environment={"STATUS": "500"})

    assert site.run_web(release, health={"path": None})["pid"] > 0


def test_a_hard_coded_port_is_used_and_a_taken_one_names_its_holder(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = failure(site, site.prepare("r-fixed"), fixed_port=port)
        assert f"port {port}, on which the application insists, is taken by process" in error.message

    assert site.run_web("r-fixed", fixed_port=port)["port"] == port
    second = failure(site, site.prepare("r-fixed-2"), fixed_port=port)
    assert f"port {port}, on which the application insists, is taken by process" in second.message


def test_a_cancelled_start_leaves_nothing(site: Site) -> None:
    release = site.prepare("r-cancel", {"web": "sleep 300"})
    key = site.put("start", release=release, health=HEALTH, deadline=60, fixed_port=None)
    pid = eventually("it runs", lambda: site.process(release).get("pid"))

    site.ask(lambda client: client.cancel_job(key))

    assert not alive(pid)
    with pytest.raises(JobCancelled):
        site.ask(lambda client: client.wait_job(key))


def test_a_release_that_is_not_prepared_cannot_start(site: Site) -> None:
    site.fetch("r-raw")
    with pytest.raises(JobFailed, match="release r-raw is fetched only"):
        site.run_web("r-raw")
    with pytest.raises(JobFailed, match="has no process web"):
        site.run_web(site.prepare("r-worker", {"worker": "true"}))


def test_the_gate_counts_checks_in_a_row(site: Site) -> None:
    site.run_web(site.prepare("r-gate"))

    passed = site.job("gate", release="r-gate", health=HEALTH, checks=4, interval=0.01, deadline=5)

    assert passed["checks"] == 4


def test_the_gate_quotes_the_last_answer(site: Site) -> None:
    site.run_web(site.prepare("r-bad", environment={"STATUS": "503", "BODY": "warming up"}), health={"path": None})

    with pytest.raises(JobFailed, match=r"web passed 0 of 2 checks in a row only; GET / answered 503 .*: warming up"):
        site.job("gate", release="r-bad", health=HEALTH, checks=2, interval=0.01, deadline=0.1)


def test_the_gate_sees_a_death(site: Site, tmp_path: Path) -> None:
    doomed = WEB.replace("connection.sendall", "os.path.exists('doom') and os._exit(9); connection.sendall")
    release = site.prepare("r-doom", texts={"web.py": doomed})
    site.run_web(release)
    (site.home / "releases" / release / "app" / "doom").touch()

    with pytest.raises(JobFailed, match=r"web of release r-doom ended while it was being checked \(exit status 9\)"):
        site.job("gate", release=release, health=HEALTH, checks=9, interval=0.05, deadline=5)


def test_agents_of_one_machine_never_choose_the_same_port(site: Site, new_site: Callable[..., Site]) -> None:
    other = new_site("other").start()
    ready = [each.run_web(each.prepare("r-port", {"web": f"{PYTHON} web.py"})) for each in (site, other)]

    assert ready[0]["port"] != ready[1]["port"]
    stolen = ready[0]["port"]
    site.job("stop", release="r-port", names=None, grace=5)
    assert other.run_web(other.prepare("r-stolen"), fixed_port=stolen)["port"] == stolen
