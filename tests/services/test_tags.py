"""Tags after a resource was made, quotas, and the operations that have nothing to tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.control import quotas
from beanpole.control.errors import not_ready

PROPERTIES = "aws:elasticbeanstalk:application:environment"


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


def tags(eb: Any, arn: str) -> dict[str, str]:
    """One's own."""
    found = eb.list_tags_for_resource(ResourceArn=arn)["ResourceTags"]
    return {each["Key"]: each["Value"] for each in found if each["Key"] != "Name" and ":" not in each["Key"]}


def given(**values: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


def test_tags_of_every_kind_of_resource(site: ApiSite, eb: Any) -> None:
    site.environment()
    site.control.objects.create_bucket(site.control.bucket)
    eb.create_configuration_template(ApplicationName="shop", TemplateName="mine", SolutionStackName=site.stack)
    for kind, names in (
        ("environment", ("shop", "shop-dev")),
        ("application", ("shop",)),
        ("applicationversion", ("shop", "v1")),
        ("configurationtemplate", ("shop", "mine")),
    ):
        arn = site.control.arn(kind, *names)
        eb.update_tags_for_resource(ResourceArn=arn, TagsToAdd=given(team="pets", stage="test"))
        eb.update_tags_for_resource(ResourceArn=arn, TagsToAdd=given(stage="live"), TagsToRemove=["team", "absent"])
        assert tags(eb, arn) == {"stage": "live"}, kind


def test_an_environment_tells_of_its_tags(site: ApiSite, eb: Any) -> None:
    site.environment()
    arn = site.control.arn("environment", "shop", "shop-dev")
    answer = eb.update_tags_for_resource(ResourceArn=arn, TagsToAdd=given(team="pets"))
    told = eb.describe_events(RequestId=answer["ResponseMetadata"]["RequestId"])["Events"]
    assert [each["Message"] for each in told] == [
        "Environment tag update completed successfully.",
        "Environment tag update is starting.",
    ]
    assert {each["EnvironmentName"] for each in told} == {"shop-dev"}


def test_tags_that_cannot_be(site: ApiSite, eb: Any) -> None:
    site.environment()
    of_environment = site.control.arn("environment", "shop", "shop-dev")
    of_application = site.control.arn("application", "shop")
    eb.update_tags_for_resource(ResourceArn=of_environment, TagsToAdd=given(team="pets"))

    def refuse(arn: str, **params: Any) -> tuple[str, str]:
        return refused(eb.update_tags_for_resource, ResourceArn=arn, **params)

    for key, value in (("aws:x", "1"), ("elasticbeanstalk:x", "1"), ("Name", "1"), ("a*b", "1"), ("a", "x*")):
        code, words = refuse(of_environment, TagsToAdd=[{"Key": key, "Value": value}])
        assert (code, words.startswith(f"The tag '{key}' cannot be used")) == ("InvalidParameterValue", True)
    assert refuse(of_environment, TagsToRemove=["Name"])[0] == "InvalidParameterValue"
    assert refuse(of_environment, TagsToRemove=["a"], TagsToAdd=given(a="1"))[0] == "InvalidParameterValue"
    assert refuse(of_environment) == ("MissingParameter", "At least one of TagsToAdd and TagsToRemove must be given.")
    assert refuse(of_environment, TagsToAdd=[], TagsToRemove=[])[0] == "MissingParameter"
    many = {f"t{number}": "1" for number in range(47)}
    assert refuse(of_environment, TagsToAdd=given(**many))[0] == "TooManyTagsException"
    assert refuse(of_environment, TagsToAdd=given(**many), TagsToRemove=["absent"])[0] == "TooManyTagsException"
    assert tags(eb, of_environment) == {"team": "pets"}
    eb.update_tags_for_resource(ResourceArn=of_environment, TagsToAdd=given(**many), TagsToRemove=["team"])
    more = {f"t{number}": "1" for number in range(50)}
    eb.update_tags_for_resource(ResourceArn=of_application, TagsToAdd=given(**more))
    assert refuse(of_application, TagsToAdd=given(one="more"))[0] == "TooManyTagsException"
    for gone in (
        site.control.arn("environment", "other", "shop-dev"),
        site.control.arn("applicationversion", "shop", "v9"),
        site.control.arn("configurationtemplate", "shop", "none"),
        "arn:aws:elasticbeanstalk:elsewhere:1:application/shop",
        "shop",
    ):
        assert refuse(gone, TagsToAdd=given(a="1"))[0] == "ResourceNotFoundException"
    platform = next(iter(site.control.platforms)).arn("local-1")
    assert refuse(platform, TagsToAdd=given(a="1"))[0] == "ResourceNotFoundException"


def test_an_environment_that_is_busy_keeps_its_tags(site: ApiSite, eb: Any) -> None:
    site.environment()
    eb.update_environment(
        EnvironmentName="shop-dev", OptionSettings=[{"Namespace": PROPERTIES, "OptionName": "A", "Value": "1"}]
    )
    arn = site.control.arn("environment", "shop", "shop-dev")
    found = refused(eb.update_tags_for_resource, ResourceArn=arn, TagsToAdd=given(a="1"))
    assert found == ("InvalidParameterValue", not_ready("shop-dev").message)
    assert tags(eb, arn) == {}


def test_quotas(site: ApiSite, eb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.environment()
    site.control.objects.create_bucket(site.control.bucket)
    eb.create_configuration_template(ApplicationName="shop", TemplateName="mine", SolutionStackName=site.stack)
    found = eb.describe_account_attributes()["ResourceQuotas"]
    assert {name: each["Maximum"] for name, each in found.items()} == {
        "ApplicationQuota": 75,
        "ApplicationVersionQuota": 1000,
        "EnvironmentQuota": 200,
        "ConfigurationTemplateQuota": 2000,
        "CustomPlatformQuota": 0,
    }
    for name in ("APPLICATIONS", "VERSIONS", "ENVIRONMENTS", "TEMPLATES"):
        monkeypatch.setattr(quotas, name, 1)
    version = {"ApplicationName": "shop", "VersionLabel": "v2", "SourceBundle": site.upload("v2.zip")}
    environment = {"ApplicationName": "shop", "EnvironmentName": "shop-b", "SolutionStackName": site.stack}
    template = {"ApplicationName": "shop", "TemplateName": "b", "SolutionStackName": site.stack}
    assert refused(eb.create_application, ApplicationName="b")[0] == "TooManyApplicationsException"
    assert refused(eb.create_application_version, **version)[0] == "TooManyApplicationVersionsException"
    assert refused(eb.create_environment, VersionLabel="v1", **environment)[0] == "TooManyEnvironmentsException"
    assert refused(eb.create_configuration_template, **template)[0] == "TooManyConfigurationTemplatesException"


def test_managed_updates_are_none(site: ApiSite, eb: Any) -> None:
    site.environment()
    of = {"EnvironmentName": "shop-dev"}
    assert eb.describe_environment_managed_actions(**of)["ManagedActions"] == []
    assert eb.describe_environment_managed_action_history(**of)["ManagedActionHistoryItems"] == []
    code = refused(eb.apply_environment_managed_action, ActionId="a", **of)[0]
    assert code == "ManagedActionInvalidStateException"
    unknown = refused(eb.describe_environment_managed_actions, EnvironmentName="nobody")
    assert unknown == ("InvalidParameterValue", "No Environment found for EnvironmentName = 'nobody'.")
