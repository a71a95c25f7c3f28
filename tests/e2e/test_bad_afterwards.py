"""After a deployment: a version that turns bad is returned from, and what a user wanted left as it is stays so."""

from __future__ import annotations

import time

import pytest
from beanpole_site import Site, app, wait_for
from stories import (
    BRISK,
    DEPLOYMENT,
    ONE_BY_ONE,
    PROCESS,
    PROPERTIES,
    body,
    in_force,
    lost,
    properties,
    refused,
    rolled_back,
)

pytestmark = [pytest.mark.slow]

TURNS_BAD = (*properties(TURN_BAD_AFTER=5), (PROCESS, "UnhealthyThresholdCount", "2"))
LEFT_ALONE = ((DEPLOYMENT, "AutoRollback", "false"),)

ONLY_THE_FIRST = """
container_commands:
  01_only_the_first:
    command: mkdir "$MARKS/first"
"""


@pytest.mark.long
def test_a_version_that_turns_bad_is_left_again_and_never_returned_to(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=BRISK)
    deployed = site.deploy("bad", app("turns-bad", "bad"), settings=TURNS_BAD)
    assert deployed["Outcome"] == "succeeded"
    told = wait_for("the end of the return", lambda: returned(site), 40)
    assert told[0].startswith(
        "Release 2 (version bad) passed its checks and turned bad afterwards: the health check fails"
    )
    assert told[1] == "Returning to release 1 (version v1)."
    assert told[-1] == "Every instance serves release 3 (version v1)."
    resources = site.client().describe_environment_resources(EnvironmentName="shop-dev")["EnvironmentResources"]
    assert any(instance["Id"] in told[0] for instance in resources["Instances"])
    environment = site.environment()
    assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v1")
    assert (PROPERTIES, "TURN_BAD_AFTER") not in in_force(site)
    assert site.serving() == {"v1"}
    with site.load(rate=50, path="/version") as run:
        assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
        assert rolled_back(site)["Outcome"] == "succeeded"
        assert body(site)["version"] == "v1", "a rollback went to a release that had turned bad"
        newest = site.client("beanpole").rollback_environment
        back = newest(EnvironmentName="shop-dev", DryRun=True)
        assert back["VersionLabel"] == "v2"
    assert run.report["failed"] == 0, lost(run.report)
    assert set(run.report["versions"]) == {"v1", "v2"}


def returned(site: Site) -> list[str]:
    """What the system told of its return, once that is complete; else nothing."""
    every = site.events(EnvironmentName="shop-dev")
    begin = next((at for at, message in enumerate(every) if "turned bad afterwards" in message), None)
    if begin is None or not any(message.startswith("Every instance serves") for message in every[begin:]):
        return []
    end = next(at for at in range(begin, len(every)) if every[at].startswith("Every instance serves"))
    return [message for message in every[begin : end + 1] if "Environment health has" not in message]


@pytest.mark.long
def test_there_is_nothing_to_return_to_from_the_first_version(site: Site) -> None:
    site.create(app("turns-bad", "v1"), settings=(*BRISK, *TURNS_BAD))
    wait_for("an unhealthy environment", lambda: site.get()[0] >= 500, 30)
    code, message = refused(site.client("beanpole").rollback_environment, EnvironmentName="shop-dev")
    assert (code, message) == (
        "InvalidParameterValue",
        "Environment named shop-dev has no earlier release that passed and differs from what is running.",
    )
    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    assert site.get()[0] == 200


def test_without_automatic_return_a_failed_deployment_stays_where_it_got(site: Site) -> None:
    marks = site.root / "marks"
    marks.mkdir()
    settings = (*BRISK, *ONE_BY_ONE, *LEFT_ALONE, *properties(MARKS=marks))
    site.create(app("probe", "v1"), instances=2, settings=settings)
    files = app("probe", "half", **{".ebextensions/01.config": ONLY_THE_FIRST})
    with site.load(rate=50, path="/version") as run:
        operation = site.deploy("half", files)
        assert operation["Outcome"] == "failed"
        assert operation["Error"]["Stage"] == "Prepare"
        assert site.serving() == {"v1", "half"}
        environment = site.environment()
        assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v1")
        told = site.events(RequestId=operation["RequestId"])
        astray = next(message for message in told if message.startswith("These instances do not serve release 1"))
        assert "The others do." in astray
        assert operation["Error"]["Instance"] not in astray

        limit = time.monotonic() + 2.5  # two looks and more of the part that brings instances into line
        while time.monotonic() < limit:
            newest = site.client("beanpole").describe_operations(EnvironmentName="shop-dev", MaxRecords=1)[
                "Operations"
            ][0]
            assert newest["OperationId"] == operation["OperationId"], "somebody meddled"
            time.sleep(0.2)
        assert site.serving() == {"v1", "half"}

        assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    assert site.serving() == {"v2"}
    assert run.report["failed"] == 0, lost(run.report)
