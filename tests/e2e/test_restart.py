"""RestartAppServer: every process is another one afterwards, no request failed, and nothing else changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, ONE_BY_ONE, PATIENT_START, lost
from test_crashes import entries

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]

DONE = ["Restarted application server on all ec2 instances.", "restartAppServer completed successfully."]

REMEMBERS = "web: date >> starts; exec python server.py\n"
"""Writes into its own folder, as an application with a database in a file does."""

NOT_TWICE = (
    "web: if [ -e started ] && [ -e broken ]; then echo no second time; exit 7; fi; "
    "touch started; exec python server.py\n"
)


def restart(site: Site, name: str = "shop-dev") -> str:
    return str(site.client().restart_app_server(EnvironmentName=name)["ResponseMetadata"]["RequestId"])


def pids(site: Site) -> set[int]:
    found = set()
    for _ in range(20):
        found.add(json.loads(site.get("/pid")[1])["pid"])
    return found


def releases(site: Site) -> list[dict[str, Any]]:
    return list(site.client("beanpole").describe_releases(EnvironmentName="shop-dev")["Releases"])


def test_one_instance_is_started_anew_beside_itself(site: Site) -> None:
    assert (
        site.create(app("probe", "v1", Procfile=REMEMBERS), settings=(*BRISK, *PATIENT_START))["Outcome"] == "succeeded"
    )
    site.deploy("v2", app("probe", "v2", Procfile=REMEMBERS))
    for turn in (1, 2):
        before = pids(site)
        with site.load(rate=40, path="/version") as run:
            asked = restart(site)
            assert site.environment()["Status"] == "Updating"
            ended = site.ended(request_id=asked)
        assert ended["Outcome"] == "succeeded", ended
        assert ended["Kind"] == "restart"
        assert run.report["failed"] == 0, lost(run.report)
        assert not before & pids(site), "the processes of before"
        told = site.events(RequestId=asked)
        assert told[0] == "restartAppServer is starting."
        assert told[-2:] == DONE
        assert not any("Deploying" in words for words in told)
        environment = site.environment()
        assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v2")
        (starts,) = site.home.root.glob("instances/*/current/app/starts")
        assert len(starts.read_text().splitlines()) == turn + 1, "its own folder stays"

    same = site.deploy("v2")
    assert same["Steps"] == [], "what was started anew is no other release"
    back = site.client("beanpole").rollback_environment(EnvironmentName="shop-dev", DryRun=True)
    assert back["VersionLabel"] == "v1", "a restart is nothing that one goes back from"


def test_three_instances_go_one_by_one_and_a_dead_control_plane_carries_on(site: Site) -> None:
    site.create(app("probe", "v1"), instances=3, settings=(*BRISK, *PATIENT_START, *ONE_BY_ONE))
    before = pids(site)
    assert len(before) == 3
    with site.load(rate=40, path="/version") as run:
        asked = restart(site)
        wait_for("the second batch", lambda: any("activate-2" in key for key in entries(site, asked)))
        site.kill()
        site.start()
        assert site.ended(request_id=asked)["Outcome"] == "succeeded", site.log()
    assert run.report["failed"] == 0, lost(run.report)
    assert not before & pids(site)
    told = site.events(RequestId=asked)
    assert len(told) == len(set(told))
    assert [words for words in told if words.endswith("Restarted application server.")] == [
        f"Batch {number}: Restarted application server." for number in (1, 2, 3)
    ]


def test_an_application_that_does_not_come_up_again_goes_on_running(site: Site) -> None:
    site.create(app("probe", "v1", Procfile=NOT_TWICE), settings=(*BRISK, *PATIENT_START))
    (folder,) = site.home.root.glob("instances/*/current/app")
    (folder / "broken").touch()
    before = pids(site)
    with site.load(rate=40, path="/version") as run:
        asked = restart(site)
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "failed"
    assert "no second time" in " ".join(ended["Error"]["LastLines"])
    assert run.report["failed"] == 0, lost(run.report)
    assert pids(site) == before
    assert site.events(RequestId=asked)[-1] == "Failed to restart application server."
    assert site.environment()["Status"] == "Ready"


def test_what_cannot_run_twice_stops_first(site: Site) -> None:
    text = json.dumps({"version": "v1"})
    files = {"Procfile": "web: python3 -m http.server 8000\n", "version": text, "index.html": text}
    assert site.create(files, settings=(*BRISK, *PATIENT_START))["Outcome"] == "succeeded"
    asked = restart(site)
    assert site.ended(request_id=asked)["Outcome"] == "succeeded", site.log()
    assert any("Stop-first" in words for words in site.events(RequestId=asked))
    assert site.serving() == {"v1"}
