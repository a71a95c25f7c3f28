"""No fault of the application: wrong checks, agents that do not start, a backup put back. Who serves serves on."""

from __future__ import annotations

import shutil

import pytest
from beanpole_site import Site, app, options_of, wait_for
from stories import BRISK, DEPLOYMENT, PROCESS, UPDATED

pytestmark = pytest.mark.slow

GROUP = "aws:autoscaling:asg"
NOT_CONFIGURED = "Failed to deploy configuration."


def change(site: Site, *settings: tuple[str, str, str]) -> dict[str, object]:
    answer = site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=options_of(settings))
    return site.ended(request_id=answer["ResponseMetadata"]["RequestId"])


def serves(site: Site, version: str) -> None:
    assert {site.get()[0] for _ in range(10)} == {200}
    assert site.serving() == {version}
    assert site.environment()["Status"] == "Ready"


@pytest.mark.long
def test_a_health_check_that_would_fail_is_not_taken_and_nobody_leaves_the_rotation(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=(*BRISK, (DEPLOYMENT, "StartTimeout", "3")))
    site.deploy("v2", app("probe", "v2"))
    with site.load(rate=100) as load:
        ended = change(site, (PROCESS, "HealthCheckPath", "/nope"))
        assert ended["Outcome"] == "failed"
    assert load.report["failed"] == 0, load.report["failures"]
    error = ended["Error"]
    assert isinstance(error, dict)
    assert "404" in error["Cause"]
    serves(site, "v2")

    # The same beside something else that fails only later.
    ended = change(site, (PROCESS, "HealthCheckPath", "/health"), (GROUP, "MinSize", "3"), (GROUP, "MaxSize", "3"))
    assert ended["Outcome"] == "succeeded"
    ended = change(site, (PROCESS, "HealthCheckPath", "/nope"), (GROUP, "MinSize", "4"), (GROUP, "MaxSize", "4"))
    assert ended["Outcome"] == "failed"
    serves(site, "v2")
    health = {check["HealthCheckPath"] for check in [_settings(site)]}
    assert health == {"/health"}


def test_a_good_health_check_is_taken_without_touching_an_instance(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=BRISK)
    with site.load(rate=100) as load:
        ended = change(site, (PROCESS, "HealthCheckPath", "/health"))
    assert (ended["Outcome"], load.report["failed"]) == ("succeeded", 0)
    assert site.events()[-1] == UPDATED
    serves(site, "v1")


@pytest.mark.long
def test_an_instance_whose_agent_cannot_start_fails_the_update_and_nothing_else(site: Site) -> None:
    site.create(app("probe", "v1"), instances=1, settings=BRISK)
    (program,) = site.home.programs.glob("agent-*.pyz")
    kept = program.read_bytes()
    program.write_bytes(b"raise SystemExit('the disk has a hole here')\n")
    ended = change(site, (GROUP, "MinSize", "2"), (GROUP, "MaxSize", "2"))
    assert ended["Outcome"] == "failed"
    error = ended["Error"]
    assert isinstance(error, dict)
    assert "the disk has a hole here" in error["Cause"]
    assert site.events()[-1] == NOT_CONFIGURED
    serves(site, "v1")
    resources = site.client().describe_environment_resources(EnvironmentName="shop-dev")
    assert len(resources["EnvironmentResources"]["Instances"]) == 1, "what was begun is gone again"
    program.write_bytes(kept)
    assert change(site, (GROUP, "MinSize", "2"), (GROUP, "MaxSize", "2"))["Outcome"] == "succeeded"
    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    serves(site, "v2")


@pytest.mark.long
def test_a_backup_of_the_database_that_is_put_back_works(site: Site) -> None:
    site.create(app("probe", "v1"), instances=1, settings=BRISK)
    site.stop()
    backup = site.root / "backup.db"
    shutil.copy(site.home.database, backup)
    site.start()
    for label in ("v2", "v3"):
        assert site.deploy(label, app("probe", label))["Outcome"] == "succeeded"
    site.stop()
    for path in site.home.root.glob("beanpole.db*"):
        path.unlink()
    shutil.copy(backup, site.home.database)
    site.start()
    assert site.environment()["VersionLabel"] == "v1"
    # The next deployment is counted beyond all that the agents have heard of.
    assert site.deploy("v4", app("probe", "v4"))["Outcome"] == "succeeded"
    wait_for("v4", lambda: site.serving() == {"v4"})


def _settings(site: Site) -> dict[str, str]:
    answer = site.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")
    return {
        each["OptionName"]: each.get("Value", "")
        for each in answer["ConfigurationSettings"][0]["OptionSettings"]
        if each["Namespace"] == PROCESS
    }
