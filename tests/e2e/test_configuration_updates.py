"""What a change of settings does to the instances: nothing, a deployment, or others in their place. No request lost."""

from __future__ import annotations

import time
from typing import Any

import pytest
from beanpole_site import Settings, Site, app, options_of, wait_for
from stories import BRISK, PATIENT_START, PROCESS, UPDATED, lost, properties
from test_crashes import entries

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(400)]

ROLLING_UPDATE = "aws:autoscaling:updatepolicy:rollingupdate"
LAUNCH = "aws:autoscaling:launchconfiguration"
LARGER: Settings = ((LAUNCH, "InstanceType", "m5.large"),)
SETTINGS = (*BRISK, *PATIENT_START)


def rolling(kind: str, batch: int, **more: str) -> Settings:
    values = {"RollingUpdateEnabled": "true", "RollingUpdateType": kind, "MaxBatchSize": str(batch), **more}
    return tuple((ROLLING_UPDATE, name, value) for name, value in values.items())


def instances(site: Site) -> list[str]:
    found = site.client().describe_environment_resources(EnvironmentName="shop-dev")["EnvironmentResources"]
    return [each["Id"] for each in found["Instances"]]


def change(site: Site, *settings: tuple[str, str, str], version: str | None = None) -> str:
    """Begin an update; the request's id."""
    label = {"VersionLabel": version} if version else {}
    options = options_of(settings)
    answer = site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=options, **label)
    return str(answer["ResponseMetadata"]["RequestId"])


def launched(steps: list[dict[str, Any]]) -> list[int]:
    """Instances of each batch."""
    return [len(step["Instances"]) for step in steps if step["Key"].startswith("forward/launch-")]


def test_instances_are_replaced_in_batches_and_nobody_notices(site: Site) -> None:
    site.create(app("probe", "v1"), instances=3, settings=(*SETTINGS, *rolling("Health", 1)))
    before = instances(site)
    with site.load(rate=40, path="/version") as run:
        asked = change(site, *LARGER)
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "succeeded", (ended, site.log())
    assert launched(ended["Steps"]) == [1, 1, 1]
    assert run.report["failed"] == 0, lost(run.report)
    after = instances(site)
    assert len(after) == 3
    assert not set(before) & set(after)
    told = site.events(RequestId=asked)
    assert "InstanceType changes: all instances are replaced, one at a time." in told
    assert told[-1] == UPDATED

    site.version("shop", "v2", app("probe", "v2"))
    with site.load(rate=40, path="/version") as run:
        asked = change(site, (LAUNCH, "RootVolumeSize", "40"), *properties(GREETING="hello"), version="v2")
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "succeeded", (ended, site.log())
    assert run.report["failed"] == 0, lost(run.report)
    assert not set(after) & set(instances(site)), "version and settings come in one operation, with new instances"
    assert site.serving() == {"v2"}
    assert "hello" in site.get("/env?name=GREETING")[1]

    now = instances(site)
    asked = change(site, *properties(GREETING="good morning"))
    assert site.ended(request_id=asked)["Outcome"] == "succeeded"
    assert instances(site) == now, "what processes notice is deployed where they run"
    told = site.events(RequestId=asked)
    assert "GREETING changes: every instance gets the new configuration." in told
    asked = change(site, (LAUNCH, "EC2KeyName", "mine"), (ROLLING_UPDATE, "PauseTime", "PT1M"))
    ended = site.ended(request_id=asked)
    assert (ended["Outcome"], ended["Steps"]) == ("succeeded", [])


def test_all_at_once_without_rolling_updates_and_no_outage_on_one_instance(site: Site) -> None:
    site.create(app("probe", "v1"), settings=SETTINGS)
    (before,) = instances(site)
    with site.load(rate=40, path="/version") as run:
        asked = change(site, *LARGER, ("aws:autoscaling:asg", "MinSize", "2"), ("aws:autoscaling:asg", "MaxSize", "2"))
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "succeeded", (ended, site.log())
    assert launched(ended["Steps"]) == [2], "the second one comes with the first one's successor"
    assert run.report["failed"] == 0, lost(run.report)
    assert len(instances(site)) == 2
    assert before not in instances(site)


def test_a_batch_that_does_not_come_up_is_gone_back_from(site: Site) -> None:
    """The first batch is replaced for good when the second one fails: its successors go back in their place."""
    site.create(app("probe", "v1"), instances=3, settings=(*SETTINGS, *rolling("Health", 1)))
    before = instances(site)
    marks = site.root / "marks"
    marks.mkdir()
    script = 'container_commands:\n  01_once:\n    command: mkdir "$MARKS/first"\n'
    site.version("shop", "bad", app("probe", "bad", **{".ebextensions/01.config": script}))
    with site.load(rate=40, path="/version") as run:
        asked = change(site, *LARGER, (PROCESS, "HealthCheckPath", "/health"), *properties(MARKS=marks), version="bad")
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "failed", ended
    assert run.report["failed"] == 0, lost(run.report)
    assert site.serving() == {"v1"}
    assert len(instances(site)) == 3
    assert len(set(instances(site)) & set(before)) == 2
    environment = site.environment()
    assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v1")
    found = site.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")
    values = {each["OptionName"]: each.get("Value") for each in found["ConfigurationSettings"][0]["OptionSettings"]}
    assert values.get("InstanceType") != "m5.large"
    assert values["HealthCheckPath"] != "/health"
    time.sleep(3)
    assert len(instances(site)) == 3, "nothing is brought into line that is in line"


def test_an_abort_in_a_pause_and_the_death_of_the_control_plane(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=(*SETTINGS, *rolling("Time", 1, PauseTime="PT4S")))
    with site.load(rate=40, path="/version") as run:
        asked = change(site, *LARGER)
        wait_for("the pause", lambda: any("pause-1" in key for key in entries(site, asked)))
        site.kill()
        site.start()
        assert site.ended(request_id=asked)["Outcome"] == "succeeded", site.log()
        after = instances(site)

        asked = change(site, (LAUNCH, "InstanceType", "m5.xlarge"), *rolling("Time", 1, PauseTime="PT10M"))
        wait_for("the pause", lambda: any("pause-1" in key for key in entries(site, asked)))
        site.client().abort_environment_update(EnvironmentName="shop-dev")
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "aborted"
    assert run.report["failed"] == 0, lost(run.report)
    assert len(instances(site)) == 2
    assert len(set(instances(site)) & set(after)) == 1
    assert site.events(RequestId=asked)[-1] == "The environment was reverted to the previous configuration setting."


def test_an_immutable_update_proves_one_instance_first(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=(*SETTINGS, *rolling("Immutable", 1)))
    before = instances(site)
    with site.load(rate=40, path="/version") as run:
        asked = change(site, *LARGER)
        ended = site.ended(request_id=asked)
    assert ended["Outcome"] == "succeeded", (ended, site.log())
    assert run.report["failed"] == 0, lost(run.report)
    assert len(instances(site)) == 2
    assert not set(before) & set(instances(site))
    told = site.events(RequestId=asked)
    assert "Immutable deployment policy enabled. Launching one instance with the new settings to verify health." in told
    assert told[-1] == UPDATED
