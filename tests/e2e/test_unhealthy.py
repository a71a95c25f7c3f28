"""An environment that is Severe: everything that could make it well again must be heard, and so must its end."""

from __future__ import annotations

import json
import os
import signal

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, in_force, properties

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]

BREAKS = {"Procfile": "web: sh -c '[ ! -e \"$BREAK\" ] && exec python server.py'\n"}
"""Does not start while the file BREAK is there."""

QUIET = (("beanpole:deployment", "WatchMinutes", "0"),)
"""Nobody goes back to an earlier release by himself."""


def falls_ill(site: Site) -> None:
    """The application dies and cannot start again."""
    broken = site.root / "break"
    broken.touch()
    os.kill(json.loads(site.get("/pid")[1])["pid"], signal.SIGKILL)

    def look() -> bool:
        found = site.client().describe_environment_health(EnvironmentName="shop-dev", AttributeNames=["All"])
        return bool(found["HealthStatus"] == "Severe")

    wait_for("bad health", look, 90)
    assert site.environment()["Status"] == "Ready"
    assert site.get()[0] == 503
    broken.unlink()


def test_every_change_is_heard_by_an_environment_that_is_severe(site: Site) -> None:
    settings = (*BRISK, *QUIET, *properties(BREAK=site.root / "break"))
    assert site.create(app("probe", "v1", **BREAKS), settings=settings)["Outcome"] == "succeeded"

    falls_ill(site)
    changed = site.deploy("v1", settings=properties(GREETING="hello"))
    assert changed["Outcome"] == "succeeded", changed["Error"]
    assert in_force(site)["aws:elasticbeanstalk:application:environment", "GREETING"] == "hello"
    assert site.get()[0] == 200

    falls_ill(site)
    rebuilding = site.client().rebuild_environment(EnvironmentName="shop-dev")
    assert site.ended(request_id=rebuilding["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert site.get()[0] == 200

    falls_ill(site)
    assert site.deploy("v2", app("probe", "v2", **BREAKS))["Outcome"] == "succeeded"
    assert '"v2"' in site.get()[1]

    falls_ill(site)
    ending = site.client().terminate_environment(EnvironmentName="shop-dev")
    assert site.ended(request_id=ending["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
