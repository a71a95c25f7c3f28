"""A Procfile that names a port: two releases cannot run beside each other, and everybody is told so beforehand."""

from __future__ import annotations

import json

import pytest
from beanpole_site import Site, app
from stories import BRISK, COMMAND, NOT_DEPLOYED, ONE_BY_ONE, PATIENT_START, lost, rolled_back

pytestmark = [pytest.mark.slow]

SETTINGS = (*BRISK, *PATIENT_START)
REASON = "Stop-first: the web process listens on port 8000 whatever PORT says. "
ALONE = REASON + "No other instance can take over: requests fail until the new release answers."
TOGETHER = REASON + "The other instances serve meanwhile."


def warned(site: Site, operation: dict[str, object]) -> list[str]:
    found = site.client().describe_events(RequestId=operation["RequestId"], Severity="WARN")["Events"]
    return [event["Message"] for event in found if event["Severity"] == "WARN"]


@pytest.mark.long
def test_a_single_instance_is_down_for_a_moment_and_that_is_said_beforehand(site: Site) -> None:
    created = site.create(app("fixed-port", "v1"), settings=SETTINGS)
    assert created["Outcome"] == "succeeded", created
    assert warned(site, created) == [], "nothing has to make way at first"

    site.version("shop", "v2", app("fixed-port", "v2"))
    plan = site.client("beanpole").plan_environment_update(EnvironmentName="shop-dev", VersionLabel="v2")["Plan"]
    assert plan["Downtime"] is True
    assert plan["Notes"] == [ALONE]
    assert site.serving() == {"v1"}, "a plan does nothing"

    with site.load(rate=40) as run:
        updated = site.deploy("v2")
        assert updated["Outcome"] == "succeeded", updated
    assert warned(site, updated) == [ALONE]
    assert site.serving() == {"v2"}
    first, last = (run.report["versions"][version] for version in ("v1", "v2"))
    assert first["last"] < last["first"], "both releases at once"

    broken = site.deploy("bad", app("fixed-port", "bad", **{"application.py": "import no_such_module\n"}))
    assert broken["Outcome"] == "failed"
    assert "No module named 'no_such_module'" in broken["Error"]["Remedy"]
    assert site.serving() == {"v2"}
    assert site.events(RequestId=broken["RequestId"])[-1] == NOT_DEPLOYED

    follows = {"Procfile": "web: gunicorn --bind :$PORT application:application\n"}
    plan = site.client("beanpole").plan_environment_update
    site.version("shop", "v3", app("fixed-port", "v3", **follows))
    assert plan(EnvironmentName="shop-dev", VersionLabel="v3")["Plan"]["Downtime"] is False
    with site.load(rate=40) as run:
        assert site.deploy("v3")["Outcome"] == "succeeded"
    assert run.report["failed"] == 0, lost(run.report)


def files(version: str) -> dict[str, str]:
    """The quickest server with a port of its own: it serves files, of which two say the version."""
    text = json.dumps({"version": version})
    return {"Procfile": "web: python -m http.server 8000\n", "version": text, "version.json": text}


@pytest.mark.long
def test_several_instances_have_the_same_port_and_lose_no_request(site: Site) -> None:
    created = site.create(files("v1"), instances=2, settings=(*BRISK, *ONE_BY_ONE))
    assert created["Outcome"] == "succeeded", created
    with site.load(rate=40, path="/version.json") as run:
        sizes = (("aws:autoscaling:asg", "MinSize", "3"), ("aws:autoscaling:asg", "MaxSize", "3"))
        assert site.deploy("v1", settings=sizes)["Outcome"] == "succeeded"
        updated = site.deploy("v2", files("v2"))
        assert updated["Outcome"] == "succeeded", updated
        assert site.serving() == {"v2"}

        broken = site.deploy("bad", files("bad") | {"Procfile": "web: python -m http.server 8000 --no-such-option\n"})
        assert broken["Outcome"] == "failed"
        assert site.serving() == {"v2"}

        assert rolled_back(site)["Outcome"] == "succeeded"
        assert site.serving() == {"v1"}

        at_once = ((COMMAND, "DeploymentPolicy", "AllAtOnce"),)
        assert site.deploy("v3", files("v3"), settings=at_once)["Outcome"] == "succeeded"
    assert run.report["failed"] == 0, lost(run.report)
    assert set(run.report["versions"]) == {"v1", "v2", "v3"}
    assert warned(site, updated) == [TOGETHER]
