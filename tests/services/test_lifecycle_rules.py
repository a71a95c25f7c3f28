"""Lifecycle rules of versions through the API: when they apply, what they spare, and what goes with a version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

ROLE = "arn:aws:iam::123456789012:role/aws-elasticbeanstalk-service-role"
DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def now() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session, now: list[float]) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions, lambda: now[0]) as made:
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def rules(count: int | None = None, age: int | None = None, *, source: bool = False, role: str | None = ROLE) -> Any:
    config: dict[str, Any] = {"VersionLifecycleConfig": {}}
    if role is not None:
        config["ServiceRole"] = role
    if count is not None:
        rule = {"Enabled": True, "MaxCount": count, "DeleteSourceFromS3": source}
        config["VersionLifecycleConfig"]["MaxCountRule"] = rule
    if age is not None:
        rule = {"Enabled": True, "MaxAgeInDays": age, "DeleteSourceFromS3": source}
        config["VersionLifecycleConfig"]["MaxAgeRule"] = rule
    return config


def set_rules(eb: Any, config: Any) -> Any:
    return eb.update_application_resource_lifecycle(ApplicationName="shop", ResourceLifecycleConfig=config)


def labels(eb: Any) -> list[str]:
    found = eb.describe_application_versions(ApplicationName="shop")["ApplicationVersions"]
    return [each["VersionLabel"] for each in found]


def keys(site: ApiSite) -> list[str]:
    found = site.client("s3").list_objects_v2(Bucket=site.control.bucket).get("Contents", [])
    return [each["Key"] for each in found]


def versions(site: ApiSite, now: list[float], *names: str) -> None:
    for name in names:
        now[0] += DAY
        site.version(name)


def test_only_so_many(site: ApiSite, eb: Any, now: list[float]) -> None:
    site.environment("shop-dev", "v1")
    versions(site, now, "v2", "v3", "v4")
    answer = set_rules(eb, rules(count=2))
    assert answer["ResourceLifecycleConfig"]["ServiceRole"] == ROLE
    assert labels(eb) == ["v4", "v3", "v2", "v1"], "rules work when a version is created"
    versions(site, now, "v5")
    # v1 is deployed and stays: of the four others than the new one two are too many, and v1 is not one of those.
    assert labels(eb) == ["v5", "v4", "v1"]
    assert keys(site) == ["v1.zip", "v2.zip", "v3.zip", "v4.zip", "v5.zip"]
    told = [each["Message"] for each in eb.describe_events(VersionLabel="v2")["Events"]]
    assert told[0] == "Deleted Application Version: v2 (by the application's lifecycle rule)."
    set_rules(eb, rules(count=2, source=True))
    versions(site, now, "v6")
    assert labels(eb) == ["v6", "v5", "v1"]
    assert "v4.zip" not in keys(site)


def test_only_so_old(site: ApiSite, eb: Any, now: list[float]) -> None:
    versions(site, now, "v1", "v2")
    set_rules(eb, rules(age=3, source=True))
    now[0] += 2 * DAY
    versions(site, now, "v3")
    assert labels(eb) == ["v3", "v2"]
    assert keys(site) == ["v2.zip", "v3.zip"]


def test_versions_of_environments_that_ended_lately_stay(site: ApiSite, eb: Any, now: list[float]) -> None:
    site.environment("shop-dev", "v1")
    eb.terminate_environment(EnvironmentName="shop-dev")
    site.end_operations()
    set_rules(eb, rules(age=1))
    now[0] += 60 * DAY
    versions(site, now, "v2")
    assert labels(eb) == ["v2", "v1"]
    now[0] += 10 * DAY
    versions(site, now, "v3")
    assert labels(eb) == ["v3"]


def test_a_version_on_its_way_to_an_environment_stays(site: ApiSite, eb: Any, now: list[float]) -> None:
    site.environment("shop-dev", "v1")
    versions(site, now, "v2")
    eb.update_environment(EnvironmentName="shop-dev", VersionLabel="v2")
    set_rules(eb, rules(count=1))
    versions(site, now, "v3", "v4")
    assert labels(eb) == ["v4", "v2", "v1"]


def test_a_bundle_that_cannot_be_deleted_is_told_and_the_new_version_is_there(
    site: ApiSite, eb: Any, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(site, now, "v1", "v2")
    set_rules(eb, rules(count=1, source=True))

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(site.control.objects, "delete", fail)
    versions(site, now, "v3")
    assert labels(eb) == ["v3", "v2"]
    told = eb.describe_events(VersionLabel="v1")["Events"][0]
    assert (told["Severity"], "v1.zip is not" in told["Message"]) == ("WARN", True)


def test_rules_that_cannot_be(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    no_role = "Parameter ServiceRole is invalid. Must be a valid IAM Role ARN."
    no_number = "Parameter '{}' is invalid. Must be a non-zero positive number."
    for config, words in (
        (rules(count=2, role=None), no_role),
        (rules(count=2, role="REPLACE_WITH_ARN"), no_role),
        (rules(age=0), no_number.format("MaxAgeInDays")),
        (rules(count=-1), no_number.format("MaxCount")),
        (rules(count=1, age=1), "Only one of MaxCountRule and MaxAgeRule can be enabled."),
    ):
        found = refused(
            eb.update_application_resource_lifecycle, ApplicationName="shop", ResourceLifecycleConfig=config
        )
        assert found == ("InvalidParameterValue", words)
    (application,) = eb.describe_applications()["Applications"]
    assert application["ResourceLifecycleConfig"] == {
        "VersionLifecycleConfig": {
            "MaxCountRule": {"Enabled": False, "MaxCount": 200, "DeleteSourceFromS3": False},
            "MaxAgeRule": {"Enabled": False, "MaxAgeInDays": 180, "DeleteSourceFromS3": False},
        }
    }
    unknown = refused(
        eb.update_application_resource_lifecycle, ApplicationName="none", ResourceLifecycleConfig=rules(count=1)
    )
    assert unknown == ("InvalidParameterValue", "No Application named 'none' found.")


def test_what_is_not_said_stays(site: ApiSite, eb: Any) -> None:
    """The role is remembered; one rule is turned off while the other is turned on."""
    eb.create_application(ApplicationName="shop", ResourceLifecycleConfig=rules(count=5))
    off = {"MaxCountRule": {"Enabled": False}, "MaxAgeRule": {"Enabled": True, "MaxAgeInDays": 9}}
    set_rules(eb, {"VersionLifecycleConfig": off})
    (application,) = eb.describe_applications()["Applications"]
    config = application["ResourceLifecycleConfig"]
    assert config["ServiceRole"] == ROLE
    assert config["VersionLifecycleConfig"] == {
        "MaxCountRule": {"Enabled": False, "MaxCount": 5, "DeleteSourceFromS3": False},
        "MaxAgeRule": {"Enabled": True, "MaxAgeInDays": 9, "DeleteSourceFromS3": False},
    }
