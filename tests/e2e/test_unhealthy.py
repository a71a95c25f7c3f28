"""An environment that is Severe: everything that could make it well again must work."""

from __future__ import annotations

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, PROCESS, in_force, properties

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]

QUICK = ((PROCESS, "HealthCheckPath", "/"), ("beanpole:deployment", "WatchMinutes", "0"))


@pytest.fixture
def severe(site: Site) -> Site:
    settings = (*BRISK, *QUICK, *properties(TURN_BAD_AFTER="6"))
    assert site.create(app("turns-bad", "v1"), settings=settings)["Outcome"] == "succeeded"
    is_severe(site)
    return site


def is_severe(site: Site) -> None:
    def look() -> bool:
        found = site.client().describe_environment_health(EnvironmentName="shop-dev", AttributeNames=["All"])
        return found["HealthStatus"] in ("Severe", "Degraded")

    wait_for("bad health", look, 90)
    assert site.environment()["Status"] == "Ready"


def test_settings_versions_rebuilding_and_the_end_are_all_heard(severe: Site) -> None:
    changed = severe.deploy("v1", settings=properties(TURN_BAD_AFTER="7"))
    assert changed["Outcome"] == "succeeded", changed["Error"]
    assert in_force(severe)["aws:elasticbeanstalk:application:environment", "TURN_BAD_AFTER"] == "7"
    is_severe(severe)
    rebuilding = severe.client().rebuild_environment(EnvironmentName="shop-dev")
    assert severe.ended(request_id=rebuilding["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    is_severe(severe)
    assert severe.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    assert '"v2"' in severe.get()[1]
    bad = severe.deploy("v3", app("turns-bad", "v3"))
    assert bad["Outcome"] == "succeeded"
    is_severe(severe)
    ending = severe.client().terminate_environment(EnvironmentName="shop-dev")
    assert severe.ended(request_id=ending["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
