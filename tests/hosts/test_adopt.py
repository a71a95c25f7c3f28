"""A service that somebody made by hand is adopted while it is used, deployed to, and given back or left alone."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hand_made
import pytest
from bed import Bed, Server
from hand_made import PORT, UNIT
from servers_site import ServersSite

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]
LOAD = Path(__file__).parents[2] / "tools" / "load.py"
NAME = "pettracker-ml"
SECRET = "hunter2-very-secret"


@pytest.fixture
def made(bed: Bed, servers: list[Server]) -> Iterator[Server]:
    hand_made.make(bed, "host1")
    yield servers[0]
    hand_made.unmake(bed, "host1")


@contextlib.contextmanager
def load(server: Server, tmp_path: Path, rate: int = 200) -> Iterator[dict[str, Any]]:
    """So many requests a second at the server's port, most on kept connections; the report is there after the block."""
    report: dict[str, Any] = {}
    out = tmp_path / "load.json"
    words = [sys.executable, str(LOAD), f"{server.address}:{PORT}", "--keep-alive", "0.7", "--post", "0.2"]
    words += ["--idle", "10", "--slow-every", "3", "--out", str(out), "--rate", str(rate)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield report
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)
    report.update(json.loads(out.read_text()))


def beanpole(site: ServersSite, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beanpole.cli", *words, "--home", str(site.home.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def greeting(server: Server) -> str:
    words = ["curl", "-sS", "--max-time", "20", f"http://{server.address}:{PORT}/"]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout


def test_nothing_is_lost_from_the_hand_made_service_to_the_first_deployment_and_back(
    bed: Bed, made: Server, fleet: ServersSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.add([made])
    shown = beanpole(fleet, "adopt", "host1", "--unit", UNIT, "--dry-run")
    assert shown.returncode == 0, shown
    assert 'web: python server.py "${BEANPOLE_ADDRESS:-127.0.0.1}:$PORT"' in shown.stdout
    assert SECRET not in shown.stdout + shown.stderr
    assert bed.exec("host1", "systemctl", "is-active", UNIT).strip() == "active"

    with load(made, tmp_path) as report:
        done = beanpole(fleet, "adopt", "host1", "--unit", UNIT, "--yes", "--json")
        assert done.returncode == 0, (done, fleet.log())
        assert greeting(made) == "hand good day\n"
    with capsys.disabled():
        print(f"\nadopted: {report['sent']} requests, {report['kinds']}, {done.stdout}")
    assert report["failed"] == 0, report["failures"][:10]
    assert bed.exec("host1", "systemctl", "is-active", UNIT, check=False).strip() == "inactive"

    changed = {"server.py": hand_made.SERVER.replace('"VERSION", "hand"', '"NOTHING", "new"')}
    changed["Procfile"] = 'web: python server.py "${BEANPOLE_ADDRESS:-127.0.0.1}:$PORT"\n'
    fleet.version(NAME, "v2", changed)
    with load(made, tmp_path) as report:
        begun = fleet.client().update_environment(EnvironmentName=NAME, VersionLabel="v2")
        assert fleet.ended(request_id=begun["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
        assert greeting(made) == "new good day\n"
    assert report["failed"] == 0, report["failures"][:10]

    with load(made, tmp_path) as report:
        done = beanpole(fleet, "eject", NAME, "--to-unit", "--yes", "--json")
        assert done.returncode == 0, (done, fleet.log())
        assert greeting(made) == "hand good day\n"
    with capsys.disabled():
        print(f"\ngiven back: {report['sent']} requests, {report['kinds']}, {done.stdout}")
    assert report["failed"] == 0, report["failures"][:10]
    bed.kill("host1")
    bed.start("host1")
    assert bed.exec("host1", "systemctl", "is-active", UNIT).strip() == "active"


def test_a_service_on_loopback_behind_something_else_goes_over_and_back_unnoticed(
    bed: Bed, servers: list[Server], fleet: ServersSite, tmp_path: Path
) -> None:
    hand_made.make_within(bed, "host1")
    try:
        fleet.add(servers[:1], app_port=hand_made.WITHIN)
        with load(servers[0], tmp_path, rate=30) as report:
            done = beanpole(fleet, "adopt", "host1", "--unit", UNIT, "--yes", "--json")
            assert done.returncode == 0, (done, fleet.log())
            assert greeting(servers[0]) == "hand good day\n"
        assert report["failed"] == 0, report["failures"][:10]
        assert bed.exec("host1", "systemctl", "is-active", UNIT, check=False).strip() == "inactive"
        assert fleet.hosts()["host1"]["AppAddress"] == "127.0.0.1"
        listening = bed.exec("host1", "ss", "-Htln", f"sport = :{hand_made.WITHIN}").split()
        assert {word for word in listening if word.endswith(f":{hand_made.WITHIN}")} == {
            f"127.0.0.1:{hand_made.WITHIN}"
        }, "nothing was opened"

        with load(servers[0], tmp_path, rate=30) as report:
            done = beanpole(fleet, "eject", NAME, "--to-unit", "--yes", "--json")
            assert done.returncode == 0, (done, fleet.log())
            assert greeting(servers[0]) == "hand good day\n"
        assert report["failed"] == 0, report["failures"][:10]
        assert bed.exec("host1", "systemctl", "is-active", UNIT).strip() == "active"
    finally:
        hand_made.unmake(bed, "host1")


def test_a_service_that_cannot_be_proven_serves_on_and_a_second_server_joins_with_the_same_code_only(
    bed: Bed, made: Server, servers: list[Server], fleet: ServersSite, tmp_path: Path
) -> None:
    fleet.add(servers[:2])
    adopt = ("adopt", "host1", "--unit", UNIT, "--yes")
    with load(made, tmp_path) as report:
        failed = beanpole(fleet, *adopt, "--health-path", "/nowhere-404")
        assert failed.returncode == 1, failed
        assert "could not be proven on host1; pettracker-ml.service serves as before" in failed.stderr
        # The agent that shares the port is killed: the next one goes on.
        bed.exec("host1", "systemctl", "kill", "--kill-whom=main", "--signal=KILL", "beanpole-agent-proxy.service")
        gone = fleet.client().terminate_environment(EnvironmentName=NAME)
        fleet.ended(request_id=gone["ResponseMetadata"]["RequestId"])
        assert bed.exec("host1", "systemctl", "is-active", UNIT).strip() == "active"
        done = beanpole(fleet, *adopt)
        assert done.returncode == 0, (done, fleet.log())
    assert report["failed"] == 0, report["failures"][:10]

    hand_made.make(bed, "host2")
    try:
        bed.exec("host2", "tee", "-a", f"{hand_made.FOLDER}/server.py", text="# patched at night\n")
        other = beanpole(fleet, "adopt", "host2", "--unit", UNIT, "--yes")
        assert other.returncode == 1, other
        assert "host2 runs other code than pettracker-ml" in other.stderr
        assert "server.py differs" in other.stderr
        bed.exec("host2", "tee", f"{hand_made.FOLDER}/server.py", text=hand_made.SERVER)
        with load(servers[1], tmp_path) as report:
            joined = beanpole(fleet, "adopt", "host2", "--unit", UNIT, "--yes")
            assert joined.returncode == 0, (joined, fleet.log())
        assert report["failed"] == 0, report["failures"][:10]
        assert bed.exec("host2", "systemctl", "is-active", UNIT, check=False).strip() == "inactive"
        assert {len(fleet.hosts()[name]["Instances"]) for name in ("host1", "host2")} == {1}
    finally:
        hand_made.unmake(bed, "host2")


def test_an_environment_that_is_ejected_serves_on_without_beanpole_and_after_a_boot(
    bed: Bed, made: Server, fleet: ServersSite, tmp_path: Path
) -> None:
    fleet.add([made])
    assert beanpole(fleet, "adopt", "host1", "--unit", UNIT, "--yes").returncode == 0
    with load(made, tmp_path) as report:
        done = beanpole(fleet, "eject", NAME, "--yes")
        assert done.returncode == 0, (done, fleet.log())
    assert report["failed"] == 0, report["failures"][:10]
    assert fleet.hosts() == {}
    fleet.stop()
    bed.kill("host1")
    bed.start("host1")
    words = ["curl", "-sS", "--retry", "60", "--retry-connrefused", "--retry-delay", "1", "--retry-all-errors", "-f"]
    answer = subprocess.run(
        [*words, f"http://{made.address}:{PORT}/"], capture_output=True, text=True, timeout=120, check=False
    )
    units = ("systemctl", "status", "--no-pager", "--full", "beanpole-*")
    assert answer.stdout == "hand good day\n", (answer.stderr, bed.exec("host1", *units, check=False))
    assert "beanpole-agent" not in bed.exec("host1", "systemctl", "list-units", "--all", "--plain", "--no-legend")
