"""Calls that cannot be: each gets the API's error with its sentence, and nothing is changed by any of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from beanpole_site import Site, app
from raw_calls import FORM, post, send
from stories import everything, refused, shared_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bad input")]

VERSION = "&Version=2010-12-01"
UNKNOWN = "No Environment found for EnvironmentName = 'nobody'."


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with shared_site() as site:
        site.version("shop", "v1", app("probe", "v1"))
        yield site


@pytest.fixture(scope="module")
def eb(shared: Site) -> Any:
    return shared.client()


@pytest.fixture
def shop(shared: Site, eb: Any) -> Iterator[Site]:
    """One application with one version, exactly as before when the test is over."""
    before = everything(eb)
    yield shared
    assert everything(eb) == before


@pytest.mark.parametrize(
    ("form", "code", "words"),
    [
        ("Action=MakeCoffee", "InvalidAction", "has no operation MakeCoffee"),
        ("NoAction=1", "MissingAction", "no parameter Action"),
        (
            "Action=DeletePlatformVersion&PlatformArn=arn",
            "UnsupportedOperation",
            "the operation DeletePlatformVersion yet",
        ),
        ("Action=CreateApplication", "MissingParameter", "ApplicationName"),
        ("Action=CreateApplication&ApplicationName=", "ValidationError", "has 0 characters; it needs at least 1"),
        (f"Action=CreateApplication&ApplicationName={'a' * 101}", "ValidationError", "at most 100 are allowed"),
        ("Action=CreateApplication&ApplicationName=a%00b", "InvalidParameterValue", "U+0000"),
        ("Action=CreateApplication&ApplicationName=a%2Fb", "InvalidParameterValue", "no slash"),
        ("Action=CreateApplication&ApplicationName=%ED%A0%80", "MalformedQueryString", "UTF-8"),
        ("Action=CreateApplicationVersion&ApplicationName=shop&VersionLabel=b&Process=perhaps", None, "true or false"),
        ("Action=CreateApplicationVersion&ApplicationName=shop&VersionLabel=b&SourceBundle=x", None, "named members"),
        ("Action=DescribeEnvironments&MaxRecords=many", "InvalidParameterValue", "a whole number"),
        ("Action=DescribeEnvironments&MaxRecords=100000", "ValidationError", "the most is 1000"),
        ("Action=DescribeEnvironments&EnvironmentNames=x", "InvalidParameterValue", "takes a list"),
        ("Action=DescribeEnvironments&NextToken=mine", "InvalidParameterValue", "NextToken"),
        ("Action=DescribeEvents&StartTime=yesterday", "InvalidParameterValue", "takes a time such as"),
        ("Action=DescribeEvents&Severity=LOUD", "ValidationError", "must be one of: TRACE, DEBUG"),
    ],
)
def test_malformed_calls(shop: Site, form: str, code: str | None, words: str) -> None:
    status, found, message = send(shop, form + VERSION)
    assert (status, found) == (400, code or "InvalidParameterValue")
    assert words in message


def test_a_form_that_is_none_and_one_without_end(shop: Site) -> None:
    assert send(shop, b"\xff\xfe\x00" * 40)[:2] == (400, "MalformedQueryString")
    large = f"Action=CreateApplication&ApplicationName=big&Description={'x' * 1_100_000}{VERSION}"
    assert send(shop, large)[:2] == (413, "RequestEntityTooLarge")


def test_who_calls_and_when_is_proven(shop: Site) -> None:
    form = f"Action=CreateApplication&ApplicationName=mine{VERSION}"
    assert send(shop, form, key="AKIAIOSFODNN7EXAMPLE")[:2] == (403, "InvalidClientTokenId")
    assert send(shop, form, secret="x" * 40)[:2] == (403, "SignatureDoesNotMatch")
    for late, words in ((16 * 60, "Signature expired"), (-16 * 60, "Signature not yet current")):
        status, code, message = send(shop, form, late=late)
        assert (status, code) == (403, "SignatureDoesNotMatch")
        assert words in message
    assert post(shop, form, {"Content-Type": FORM})[:2] == (403, "MissingAuthenticationToken")
    assert send(shop, form, service="lambda")[:2] == (400, "UnknownService")
    assert send(shop, f"Action=DescribeApplications{VERSION}", late=14 * 60)[0] == 200


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("elasticbeanstalk", "update_environment", {"VersionLabel": "v1"}),
        ("elasticbeanstalk", "terminate_environment", {}),
        ("elasticbeanstalk", "abort_environment_update", {}),
        ("elasticbeanstalk", "describe_environment_resources", {}),
        ("elasticbeanstalk", "describe_environment_health", {"AttributeNames": ["All"]}),
        ("elasticbeanstalk", "describe_configuration_settings", {"ApplicationName": "shop"}),
        ("elasticbeanstalk", "request_environment_info", {"InfoType": "tail"}),
        ("elasticbeanstalk", "retrieve_environment_info", {"InfoType": "tail"}),
        ("beanpole", "rollback_environment", {}),
        ("beanpole", "plan_environment_update", {"VersionLabel": "v1"}),
        ("beanpole", "describe_releases", {}),
        ("beanpole", "tail_logs", {}),
    ],
)
def test_an_unknown_environment(shop: Site, service: str, call: str, arguments: dict[str, Any]) -> None:
    found = refused(getattr(shop.client(service), call), EnvironmentName="nobody", **arguments)
    assert found == ("InvalidParameterValue", UNKNOWN)


def test_unknown_applications_versions_and_platforms(shop: Site, eb: Any) -> None:
    stack = shop.stack()
    nobody, nothing = "No Application named 'nobody' found.", "No Application Version named 'nothing' found."
    new = {"ApplicationName": "shop", "EnvironmentName": "new-env", "VersionLabel": "v1", "SolutionStackName": stack}
    for call, arguments, message in (
        (eb.update_application, {"ApplicationName": "nobody"}, nobody),
        (eb.delete_application, {"ApplicationName": "nobody"}, nobody),
        (eb.create_application_version, {"ApplicationName": "nobody", "VersionLabel": "v1"}, nobody),
        (eb.delete_application_version, {"ApplicationName": "nobody", "VersionLabel": "v1"}, nobody),
        (eb.delete_application_version, {"ApplicationName": "shop", "VersionLabel": "nothing"}, nothing),
        (eb.create_environment, new | {"ApplicationName": "nobody"}, nobody),
        (eb.create_environment, new | {"VersionLabel": "nothing"}, nothing),
        (eb.create_application, {"ApplicationName": "shop"}, "Application shop already exists."),
        (eb.create_application_version, {"ApplicationName": "shop", "VersionLabel": "v1"}, None),
        (eb.describe_platform_version, {"PlatformArn": "arn:x"}, "No Platform named 'arn:x' found."),
    ):
        expected = message or "Application Version v1 already exists."
        assert refused(call, **arguments) == ("InvalidParameterValue", expected)
    code, message = refused(eb.create_environment, **(new | {"SolutionStackName": "64bit Windows"}))
    assert code == "InvalidParameterValue"
    assert message.startswith("No Solution Stack named '64bit Windows' found. This Beanpole has: ")
    assert stack in message
    both = new | {"PlatformArn": "arn:x"}
    assert refused(eb.create_environment, **both)[0] == "InvalidParameterCombination"
    missing = {name: value for name, value in new.items() if name != "SolutionStackName"}
    assert refused(eb.create_environment, **missing)[0] == "MissingParameter"
    gone = {"S3Bucket": eb.create_storage_location()["S3Bucket"], "S3Key": "gone.zip"}
    words = refused(eb.create_application_version, ApplicationName="shop", VersionLabel="v2", SourceBundle=gone)[1]
    assert (
        words == f"Unable to download from S3 location (Bucket: {gone['S3Bucket']}  Key: gone.zip). Reason: Not Found"
    )
