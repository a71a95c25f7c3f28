"""After a deployment, unasked: what died comes back, what is lost is brought again, what goes is gone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site, app, options_of, wait_for
from stories import BRISK, DEPLOYMENT, PROCESS, properties

pytestmark = [pytest.mark.slow]

GROUP = "aws:autoscaling:asg"
QUICK_CHECK = ((PROCESS, "UnhealthyThresholdCount", "2"), (PROCESS, "HealthCheckTimeout", "1"))

SLOW = """from __future__ import annotations
import os, time
if os.path.exists(os.environ["MARKS"] + "/slow"):
    time.sleep(14)
"""
"""Longer than half of a fleet may be unhealthy while nothing is being started."""


def slow_starter(version: str) -> dict[str, str]:
    """`probe`, which takes its time to start from when there is a file `slow`."""
    files = app("probe", version)
    return files | {"server.py": files["server.py"].replace("from __future__ import annotations", SLOW, 1)}


def web(folder: Path) -> dict[str, Any]:
    """What the agent of that instance wrote down of the process that shall run."""
    table = json.loads((folder / "processes.json").read_text())["processes"]
    return next(dict(each) for each in table if each["wanted"] and each["name"] == "web")


def folders(site: Site) -> list[Path]:
    return sorted(site.home.instances.glob("i-*"))


def kill(folder: Path) -> int:
    """End the web process; how often it had been restarted before."""
    process = web(folder)
    os.killpg(process["identity"][0], signal.SIGKILL)
    return int(process["restarts"])


def listens(folder: Path) -> bool:
    process = web(folder)
    with contextlib.suppress(OSError), socket.create_connection((process["address"], process["port"]), 1):
        return True
    return False


def agents(site: Site) -> list[int]:
    found = []
    for pid in site.processes():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"run" in words and b"instance" in words:
                found.append(pid)
    return found


def kinds(site: Site) -> list[str]:
    """Of all operations, oldest first."""
    found = site.client("beanpole").describe_operations(EnvironmentName="shop-dev")["Operations"]
    return [each["Kind"] for each in reversed(found)]


@pytest.mark.long
def test_a_fleet_that_dies_once_and_starts_slowly_keeps_its_release(site: Site) -> None:
    marks = site.root / "marks"
    marks.mkdir()
    settings = (*BRISK, *QUICK_CHECK, (DEPLOYMENT, "StartTimeout", "30"), *properties(MARKS=marks))
    site.create(slow_starter("v1"), instances=2, settings=settings)
    assert site.deploy("v2", slow_starter("v2"))["Outcome"] == "succeeded"
    (marks / "slow").touch()
    for folder in folders(site):
        kill(folder)
    wait_for("an outage", lambda: site.get()[0] == 503)
    wait_for("the end of the outage", lambda: site.get()[0] == 200, 40)
    wait_for("both instances", lambda: all(listens(folder) for folder in folders(site)), 40)
    assert site.serving() == {"v2"}
    assert kinds(site) == ["create", "update"]


@pytest.mark.long
def test_a_release_whose_process_dies_again_and_again_is_returned_from(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=(*BRISK, *QUICK_CHECK))
    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    victim = folders(site)[0]
    for _ in range(2):
        before = kill(victim)
        wait_for("a restart", lambda: web(victim)["restarts"] > before and listens(victim))  # noqa: B023
    assert kinds(site) == ["create", "update"]
    kill(victim)
    back = "Every instance serves release 3 (version v1)."
    wait_for("the return", lambda: back in site.events(EnvironmentName="shop-dev"), 40)
    assert site.serving() == {"v1"}
    told = next(each for each in site.events(EnvironmentName="shop-dev") if "turned bad afterwards" in each)
    assert f"its web process died 3 times or more on {victim.name}." in told


@pytest.mark.long
def test_an_instance_that_lost_its_release_gets_it_again(site: Site) -> None:
    site.create(app("probe", "v1"), settings=(*BRISK, *QUICK_CHECK))
    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    (folder,) = folders(site)
    process = web(folder)["identity"][0]
    site.stop()  # so that nobody starts the agent while its folder is emptied
    for pid in (*agents(site), process):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder / "releases")
    (folder / "processes.json").unlink()
    site.start()
    wait_for("the release", lambda: site.get()[0] == 200, 60)
    assert site.serving() == {"v2"}
    wait_for("the end of the operation", lambda: kinds(site) == ["create", "update", "align"])
    told = site.events(EnvironmentName="shop-dev")
    assert sum("The release that served here is gone from the instance" in each for each in told) == 1
    assert not any("turned bad" in each for each in told)


@pytest.mark.long
def test_big_instances_go_undisturbed_and_leave_nothing(site: Site) -> None:
    many = {f"data/{first}/{second}.txt": "x" for first in range(60) for second in range(60)}
    site.version("shop", "v1", app("probe", "v1") | many)
    settings = (*BRISK, (GROUP, "MinSize", "3"), (GROUP, "MaxSize", "3"))
    answer = site.client().create_environment(
        ApplicationName="shop",
        EnvironmentName="shop-dev",
        VersionLabel="v1",
        SolutionStackName=site.stack(),
        OptionSettings=options_of(settings),
    )
    assert site.ended(request_id=answer["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    answer = site.client().terminate_environment(EnvironmentName="shop-dev")
    assert site.ended(request_id=answer["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert folders(site) == []
    wait_for("the end of the agents", lambda: agents(site) == [])
    assert "operation stopped unexpectedly" not in site.log()


@pytest.mark.long
def test_instances_that_a_restored_database_does_not_know_are_cleared_away(site: Site) -> None:
    assert site.create(app("probe", "v1"), settings=BRISK)["Outcome"] == "succeeded"
    known = folders(site)
    site.stop()
    backup = site.root / "backup.db"
    with (
        contextlib.closing(sqlite3.connect(site.home.database)) as db,
        contextlib.closing(sqlite3.connect(backup)) as to,
    ):
        db.backup(to)
    site.start()
    answer = site.client().update_environment(
        EnvironmentName="shop-dev", OptionSettings=options_of(((GROUP, "MinSize", "2"), (GROUP, "MaxSize", "2")))
    )
    assert site.ended(request_id=answer["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert len(folders(site)) == 2
    site.stop()
    for file in site.home.root.glob(f"{site.home.database.name}*"):
        file.unlink()
    shutil.copy(backup, site.home.database)
    site.start()
    wait_for("the end of what nobody knows", lambda: folders(site) == known and len(agents(site)) == 1)
    assert site.get()[0] == 200
