"""Looking at an environment with the real eb: health in every state, events, and logs in every form."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from beanpole_site import Site, app, wait_for
from eb_folder import EbFolder, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

INSTANCE = re.compile(r"^ *(i-[0-9a-f]{17}) +(\S+) ", re.MULTILINE)
"""A row of the health screen, or of a list: an instance and the next word."""


@pytest.mark.long
def test_health_from_the_launch_on_and_events(site: Site, tmp_path: Path) -> None:
    procfile = f"web: sh -c 'until [ -e {tmp_path}/go ]; do sleep 0.1; done; python server.py'\n"
    folder = EbFolder(site, tmp_path / "shop", app("probe", "v1", Procfile=procfile))
    folder.init()
    assert folder.eb("create", "shop-dev", "--scale", "2", "--nohang").events == []
    wait_for("the instances of the launch", lambda: len(running(site)) == 2)
    launching = folder.eb("health")  # it would hang on an instance that lacks a status or a launch time
    assert set(INSTANCE.findall(launching.text)[:2]) == {(instance, "Pending") for instance in running(site)}

    (tmp_path / "go").touch()
    following = folder.begin("events", "--follow")
    following.read_until("Successfully launched environment: shop-dev")
    following.stopped()

    wait_for("a look at what was launched", lambda: site.environment()["HealthStatus"] == "Ok")
    well = folder.eb("health").text
    assert re.search(r"^ shop-dev +Ok ", well, re.MULTILINE)
    rows = INSTANCE.findall(well)
    assert set(rows[:2]) == {(instance, "Ok") for instance in running(site)}
    label = site.environment()["VersionLabel"]
    assert {(row, words) for row, words in rows if words == "Deployed"} == {(row, "Deployed") for row in running(site)}
    assert well.count(label) == 2
    assert "Status: Ready" in folder.eb("status").text
    assert "Health: Green" in folder.eb("status").text

    told = folder.eb("events")
    assert "Successfully launched environment: shop-dev" in told.messages
    every = site.client().describe_events(ApplicationName="shop", EnvironmentName="shop-dev")["Events"]
    assert told.messages == [event["Message"] for event in reversed(every)][-len(told.messages) :]
    assert len(told.messages) == len(every)


@pytest.mark.long
def test_logs(site: Site, tmp_path: Path) -> None:
    site.create(app("probe", "v1"), instances=2)
    folder = EbFolder(site, tmp_path / "shop")
    folder.link()
    one, two = running(site)

    tail = folder.eb("logs").text
    assert tail.count("============= i-") == 2
    for instance in (one, two):
        assert f"============= {instance} ==============" in tail
    assert tail.count("probe v1 listens on") == 2
    assert tail.count("/var/log/web.stdout.log") == 2

    single = folder.eb("logs", "-i", two).text
    assert two in single
    assert one not in single
    assert "probe v1 listens on" in single
    assert "Can't find instance" in folder.eb("logs", "-i", "i-nope", expected=4).text

    assert "Logs were saved to" in folder.eb("logs", "--all").text
    latest = folder.path / ".elasticbeanstalk" / "logs" / "latest"
    for instance in (one, two):
        assert "probe v1 listens on" in (latest / instance / "web.stdout.log").read_text()
        assert "Starting web of release" in (latest / instance / "engine.log").read_text()
    folder.eb("logs", "--zip")
    (packed,) = (folder.path / ".elasticbeanstalk" / "logs").glob("*.zip")
    with zipfile.ZipFile(packed) as archive:
        assert {Path(name).parts[-2] for name in archive.namelist() if name.endswith("web.stdout.log")} == {one, two}
