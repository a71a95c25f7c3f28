"""Versions through the API: their first use, their end, and what comes in between while a bundle is read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.aws.errors import AwsError
from beanpole.control import applications as verbs


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Something happens after the next bundle was read and before its version is added."""
    read = verbs.check_and_unpack
    waiting: list[Callable[[], object]] = []

    def reading(*words: Any) -> Any:
        found = read(*words)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(verbs, "check_and_unpack", reading)
    return waiting.append


def labels(eb: Any) -> list[str]:
    found = eb.describe_application_versions(ApplicationName="shop")["ApplicationVersions"]
    return [each["VersionLabel"] for each in found]


def test_a_description_that_is_not_given_stays(site: ApiSite, eb: Any) -> None:
    eb.create_application(ApplicationName="shop")
    of = {"ApplicationName": "shop", "VersionLabel": "v1"}
    eb.create_application_version(Description="the first", SourceBundle=site.upload(), **of)
    assert eb.update_application_version(**of)["ApplicationVersion"]["Description"] == "the first"
    assert eb.update_application_version(Description="", **of)["ApplicationVersion"].get("Description", "") == ""


def test_two_first_versions_of_an_application(site: ApiSite, eb: Any, while_reading: Any) -> None:
    bundle = site.upload()

    def add(label: str) -> None:
        eb.create_application_version(
            ApplicationName="shop", VersionLabel=label, AutoCreateApplication=True, SourceBundle=bundle
        )

    while_reading(lambda: add("second"))
    add("first")
    assert sorted(labels(eb)) == ["first", "second"]
    assert len(eb.describe_applications()["Applications"]) == 1


@pytest.mark.parametrize("source", [True, False])
def test_an_application_that_goes_while_a_bundle_is_read(
    site: ApiSite, eb: Any, while_reading: Any, source: bool
) -> None:
    eb.create_application(ApplicationName="shop")
    while_reading(lambda: eb.delete_application(ApplicationName="shop"))
    bundle = {"SourceBundle": site.upload()} if source else {}
    found = refused(eb.create_application_version, ApplicationName="shop", VersionLabel="v1", **bundle)
    assert found == ("InvalidParameterValue", "No Application named 'shop' found.")


def test_a_label_that_is_taken_while_a_bundle_is_read(site: ApiSite, eb: Any, while_reading: Any) -> None:
    eb.create_application(ApplicationName="shop")
    new = {"ApplicationName": "shop", "VersionLabel": "v1", "SourceBundle": site.upload()}
    while_reading(lambda: eb.create_application_version(**new))
    assert refused(eb.create_application_version, **new)[1] == "Application Version v1 already exists."


def test_a_version_on_its_way_to_an_environment_stays(site: ApiSite, eb: Any) -> None:
    site.environment()
    site.version("v2")
    eb.update_environment(EnvironmentName="shop-dev", VersionLabel="v2")
    delete = {"ApplicationName": "shop", "VersionLabel": "v2"}
    words = "Unable to delete application version v2 because it is deployed in: shop-dev."
    assert refused(eb.delete_application_version, **delete) == ("InvalidParameterValue", words)
    site.end_operations()
    eb.delete_application_version(ApplicationName="shop", VersionLabel="v1")
    assert labels(eb) == ["v2"]


def test_a_version_is_deleted_with_a_bundle_that_has_gone_already(site: ApiSite, eb: Any) -> None:
    s3 = site.client("s3")
    delete = {"ApplicationName": "shop", "DeleteSourceBundle": True}
    for label in ("v1", "v2", "v3"):
        site.version(label)
    eb.delete_application_version(VersionLabel="v1", **delete)
    left = [each["Key"] for each in s3.list_objects_v2(Bucket=site.control.bucket)["Contents"]]
    assert left == ["v2.zip", "v3.zip"]
    s3.delete_object(Bucket=site.control.bucket, Key="v2.zip")
    eb.delete_application_version(VersionLabel="v2", **delete)
    s3.delete_object(Bucket=site.control.bucket, Key="v3.zip")
    s3.delete_bucket(Bucket=site.control.bucket)
    eb.delete_application_version(VersionLabel="v3", **delete)
    assert labels(eb) == []


@pytest.mark.parametrize(
    ("fault", "why"),
    [(OSError(5, "Input/output error"), "Input/output error"), (AwsError("SlowDown", "Later."), "Later.")],
)
def test_a_bundle_that_cannot_be_deleted_is_told(
    site: ApiSite, eb: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception, why: str
) -> None:
    site.version("v1")

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(site.control.objects, "delete", fail)
    code, words = refused(
        eb.delete_application_version, ApplicationName="shop", VersionLabel="v1", DeleteSourceBundle=True
    )
    assert (code, why in words) == ("SourceBundleDeletionFailure", True)
    assert labels(eb) == []


def test_the_sample_has_no_bundle_to_delete(site: ApiSite, eb: Any) -> None:
    """Whatever lies under the key that its description shows is somebody's own."""
    s3 = site.client("s3")
    eb.create_application(ApplicationName="shop")
    eb.create_application_version(ApplicationName="shop", VersionLabel="v1")
    source = site.upload("sample/application.zip")
    eb.delete_application_version(ApplicationName="shop", VersionLabel="v1", DeleteSourceBundle=True)
    assert s3.head_object(Bucket=source["S3Bucket"], Key=source["S3Key"])


def test_many_first_uses_at_once(site: ApiSite, eb: Any) -> None:
    """As they come, whoever is first."""
    eb.create_application(ApplicationName="shop")
    bundle, faults = site.upload(), []
    site.client("s3")

    def call(action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as fault:  # any of them is told below
            faults.append(fault)

    def environment(number: int) -> Callable[[], object]:
        name = f"env-{number}"
        return lambda: eb.create_environment(ApplicationName="shop", EnvironmentName=name, SolutionStackName=site.stack)

    def version(number: int) -> Callable[[], object]:
        return lambda: eb.create_application_version(
            ApplicationName="auto", VersionLabel=f"v{number}", AutoCreateApplication=True, SourceBundle=bundle
        )

    actions = [make(number) for number in range(4) for make in (environment, version)]
    threads = [threading.Thread(target=call, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert labels(eb) == ["Sample Application"]
    assert len(eb.describe_application_versions(ApplicationName="auto")["ApplicationVersions"]) == 4
