"""What users' servers are like: one port in the firewall, no network, little memory, long requests. Nothing is lost.

All chapters share three servers: to make them ready takes longer than most chapters.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from beanpole_site import LoadRun, app, wait_for
from bed import Bed, Server
from servers_site import APP_PORT, ONE_BY_ONE, ServersSite, counted
from traces import remove_traces

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

SILENCE = 0.7  # seconds without an answer that a test takes for silence
DRAIN = ("aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay")
PATIENT = ((*DRAIN, "32"),)  # for requests of 30 s; a websocket holds each drain until its deadline
BRISK = ((*DRAIN, "3"),)
MIXED: dict[str, float | str] = {"path": "/version", "idle": 10, "websocket": "/ws"}
LONG: dict[str, float | str] = {"path": "/slow?s=30", "rate": 1, "slow_every": 0, "timeout": 40, "keep_alive": 0.5}
BAD = {"server.py": "import nothing_like_this\n"}

REQUIREMENTS = "flask==3.1.2\ngunicorn==23.0.0\nmarkupsafe=={}\n"
PACKAGES = """
import importlib.metadata, markupsafe._speedups
@application.get("/packages")
def packages():
    return {each.name.lower(): each.version for each in importlib.metadata.distributions()}
"""
HELD = 2 * 2**30
HOLDING = f"HELD = b'x' * {HELD}\n"
# As lxcfs shows a container that has less than the machine.
NARROW = """
sed 's/^MemAvailable:.*/MemAvailable: 1048576 kB/' /proc/meminfo > /run/meminfo
mount --bind /run/meminfo /proc/meminfo
"""


@pytest.fixture(scope="module")
def servers(bed: Bed) -> Iterator[list[Server]]:
    """Three servers into which a firewall lets SSH and one port."""
    found = bed.up(len(bed.servers()))
    remove_traces(bed, found)
    for server in found[:3]:
        bed.wall(server.name, server.port, APP_PORT)
    yield found[:3]
    for server in found[:3]:
        bed.wall(server.name)


@pytest.fixture(scope="module")
def fleet(servers: list[Server]) -> Iterator[ServersSite]:
    """shop-dev serves on all three."""
    made = ServersSite()
    try:
        made.start()
        made.add(servers)
        made.shop(3, settings=BRISK)
        yield made
    finally:
        print(made.log())
        made.end()


def succeeded(operation: dict[str, Any]) -> None:
    assert operation["Outcome"] == "succeeded", operation


def failed(run: LoadRun) -> list[str]:
    """Kinds of failure. A websocket that is told to go (1001) when the drain deadline is over is none."""
    return [kind for kind in run.report["kinds"] if kind != "websocket: closed with code 1001"]


def ask(server: Server, path: str, host: str | None) -> tuple[int, str]:
    """Status and body at the server's application port; without a Host as old clients do it, and some health checks."""
    with socket.create_connection((server.address, APP_PORT), timeout=10) as connection:
        if host is None:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        else:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode()


def terminated(fleet: ServersSite, name: str) -> None:
    answer = fleet.client().terminate_environment(EnvironmentName=name)
    succeeded(fleet.ended(request_id=answer["ResponseMetadata"]["RequestId"]))


def test_one_port_in_the_firewall_is_enough(fleet: ServersSite, servers: list[Server], bed: Bed) -> None:
    bed.exec(servers[0].name, "systemd-run", "--unit=other", "python3", "-m", "http.server", "9000")
    with pytest.raises(TimeoutError):
        socket.create_connection((servers[0].address, 9000), timeout=SILENCE)
    bed.exec(servers[0].name, "systemctl", "stop", "other.service")
    with counted(fleet):
        succeeded(fleet.deploy("a2", app("probe", "a2")))
        assert set(fleet.answers().values()) == {"a2"}
        broken = fleet.deploy("a-bad", app("probe", "a-bad", **BAD))
        assert broken["Outcome"] == "failed"
        assert "nothing_like_this" in str(broken["Error"])
        assert set(fleet.answers().values()) == {"a2"}
        succeeded(fleet.rollback())
        assert set(fleet.answers().values()) == {"v1"}
        succeeded(fleet.scale(2))
        assert sorted(fleet.answers().values()).count("v1") == 2
        succeeded(fleet.scale(3))
        assert set(fleet.answers().values()) == {"v1"}


def test_a_deployment_right_after_another_and_a_kill_in_the_middle_of_one(fleet: ServersSite) -> None:
    with counted(fleet):
        first = fleet.begin("f1", app("probe", "f1"))
        eb = fleet.client()
        with pytest.raises(eb.exceptions.ClientError, match="Must be Ready"):
            fleet.begin("f2", app("probe", "f2"))
        succeeded(fleet.ended(request_id=first))
        second = fleet.begin("f2")
        wait_for("a first server with f2", lambda: "f2" in fleet.answers().values())
        assert "f1" in fleet.answers().values(), "it was over before it could be interrupted"
        fleet.kill()
        fleet.start()
        succeeded(fleet.ended(request_id=second))
        assert set(fleet.answers().values()) == {"f2"}
    assert fleet.environment()["Status"] == "Ready"


def test_two_environments_on_one_server_go_their_own_ways(fleet: ServersSite, servers: list[Server]) -> None:
    created = fleet.create(app("probe", "other"), name="other-dev", label="other", settings=BRISK)
    succeeded(created)
    home = next(
        server
        for server in servers
        if {each["EnvironmentName"] for each in fleet.hosts()[server.name]["Instances"]} == {"shop-dev", "other-dev"}
    )
    mine = fleet.answers()[home.name]
    assert mine != "other"
    status, body = ask(home, "/version", "other-dev.localhost")
    assert (status, json.loads(body)["version"]) == (200, "other")
    assert json.loads(ask(home, "/version", None)[1])["version"] == mine
    assert json.loads(ask(home, "/version", "www.example.com")[1])["version"] == mine
    shared = f"Host {home.name} is shared with the environment shop-dev"
    assert any(message.startswith(shared) for message in fleet.events(EnvironmentName="other-dev"))
    with counted(fleet):
        terminated(fleet, "other-dev")
        assert fleet.answers()[home.name] == mine
    # Whoever comes with another Host, or none, means the first one all the while.
    assert json.loads(ask(home, "/version", None)[1])["version"] == mine
    assert json.loads(ask(home, "/version", "www.example.com")[1])["version"] == mine


def test_real_dependencies_reach_servers_that_have_no_network(
    fleet: ServersSite, servers: list[Server], bed: Bed
) -> None:
    for server in servers:
        assert bed.exec(server.name, "ip", "route", "show", "default") == ""
        assert bed.exec(server.name, "getent", "hosts", "www.example.com", check=False) == ""
    host = "flask-dev.localhost"

    def installed() -> list[str]:
        found = [json.loads(ask(server, "/packages", host)[1]) for server in servers]
        assert all(each["flask"] == "3.1.2" and each["gunicorn"] == "23.0.0" for each in found), found
        return [each["markupsafe"] for each in found]

    def files(version: str, markupsafe: str) -> dict[str, str]:
        plain = app("flask", version)
        more = {"requirements.txt": REQUIREMENTS.format(markupsafe)}
        return plain | more | {"application.py": plain["application.py"] + PACKAGES}

    succeeded(
        fleet.create(files("d1", "3.0.2"), name="flask-dev", label="d1", instances=3, settings=(*ONE_BY_ONE, *BRISK))
    )
    assert installed() == ["3.0.2"] * 3
    with counted(fleet, host=host):
        succeeded(fleet.deploy("d2", files("d2", "3.0.3"), name="flask-dev"))
        assert installed() == ["3.0.3"] * 3
        back = fleet.client("beanpole").rollback_environment(EnvironmentName="flask-dev")
        succeeded(fleet.ended(request_id=back["ResponseMetadata"]["RequestId"]))
        assert installed() == ["3.0.2"] * 3
    terminated(fleet, "flask-dev")


def test_two_gigabytes_start_first_where_they_fit_and_one_after_the_other_where_not(
    fleet: ServersSite, servers: list[Server], bed: Bed
) -> None:
    def files(version: str) -> dict[str, str]:
        plain = app("probe", version)
        return plain | {"server.py": plain["server.py"].replace("VERSION = ", f"{HOLDING}VERSION = ", 1)}

    def narrow() -> list[str]:
        return [each for each in fleet.events(EnvironmentName="big-dev") if "Stop-first" in each]

    settings = (*ONE_BY_ONE, *BRISK, ("beanpole:deployment", "StartTimeout", "60"))
    succeeded(fleet.create(files("g1"), name="big-dev", label="g1", instances=2, settings=settings))
    homes = [
        server
        for server in servers
        if "big-dev" in {each["EnvironmentName"] for each in fleet.hosts()[server.name]["Instances"]}
    ]
    with counted(fleet, host="big-dev.localhost"):
        succeeded(fleet.deploy("g2", files("g2"), name="big-dev"))
        assert narrow() == []
        for server in homes:
            bed.exec(server.name, "sh", "-s", text=NARROW)
        try:
            succeeded(fleet.deploy("g3", files("g3"), name="big-dev"))
        finally:
            for server in homes:
                bed.exec(server.name, "umount", "/proc/meminfo")
        assert len(narrow()) == 2
        assert "1024 MB of memory are available" in narrow()[0]
        for server in homes:
            assert json.loads(ask(server, "/version", "big-dev.localhost")[1])["version"] == "g3"
    terminated(fleet, "big-dev")


def test_requests_of_thirty_seconds_and_websockets_outlive_what_goes_on(fleet: ServersSite) -> None:
    with fleet.load(**MIXED) as mixed:
        with fleet.load(**LONG) as long:
            succeeded(fleet.deploy("l1", app("probe", "l1"), settings=PATIENT))
            assert set(fleet.answers().values()) == {"l1"}
            succeeded(fleet.rollback())
            assert "l1" not in fleet.answers().values()
        assert long.report["failed"] == 0, long.report
        assert long.report["sent"] > 10
    assert failed(mixed) == [], mixed.report
