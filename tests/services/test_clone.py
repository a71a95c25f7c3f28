"""Clones through the API, by the CLI's own model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.control.errors import not_ready

PROPERTIES = "aws:elasticbeanstalk:application:environment"
GROUP = "aws:autoscaling:asg"


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


def setting(name: str, value: str, namespace: str = PROPERTIES) -> dict[str, str]:
    return {"Namespace": namespace, "OptionName": name, "Value": value}


def clone(eb: Any, name: str = "shop-b", of: str = "shop-dev", **more: Any) -> Any:
    source = {"TemplateSource": {"EnvironmentName": of}}
    params = {"ApplicationName": "shop", "EnvironmentName": name, "TemplateSpecification": source}
    return eb.create_environment(**(params | more))


def chosen(eb: Any, name: str) -> dict[str, str]:
    (found,) = eb.describe_configuration_settings(ApplicationName="shop", EnvironmentName=name)["ConfigurationSettings"]
    return {each["OptionName"]: each.get("Value", "") for each in found["OptionSettings"]}


def tags(eb: Any, environment: dict[str, str]) -> dict[str, str]:
    found = eb.list_tags_for_resource(ResourceArn=environment["EnvironmentArn"])["ResourceTags"]
    return {each["Key"]: each["Value"] for each in found}


def test_a_clone_has_settings_version_platform_and_tags(site: ApiSite, eb: Any) -> None:
    site.version("v1")
    source = eb.create_environment(
        ApplicationName="shop",
        EnvironmentName="shop-dev",
        CNAMEPrefix="pets",
        VersionLabel="v1",
        SolutionStackName="Python 3.11",
        OptionSettings=[setting("GREETING", "hello"), setting("MinSize", "2", GROUP), setting("MaxSize", "3", GROUP)],
        Tags=[{"Key": key, "Value": "test"} for key in ("stage", "beanpole:bluegreen:of")]
        + [{"Key": "team", "Value": "pets"}],
    )
    site.end_operations()
    site.version("v2")
    made = clone(eb, Tags=[{"Key": "stage", "Value": "production"}], OptionSettings=[setting("GREETING", "good day")])
    site.end_operations()
    (copy,) = eb.describe_environments(EnvironmentNames=["shop-b"])["Environments"]
    assert (copy["VersionLabel"], copy["PlatformArn"]) == ("v1", source["PlatformArn"])
    assert made["EnvironmentId"] != source["EnvironmentId"]
    assert copy["CNAME"] == "shop-b.localhost"
    of_copy = chosen(eb, "shop-b")
    assert {name: of_copy[name] for name in ("GREETING", "MinSize", "MaxSize", "Location")} == {
        "GREETING": "good day",
        "MinSize": "2",
        "MaxSize": "3",
        "Location": "local",
    }
    assert tags(eb, copy) == {
        "Name": "shop-b",
        "elasticbeanstalk:environment-id": made["EnvironmentId"],
        "elasticbeanstalk:environment-name": "shop-b",
        "team": "pets",
        "stage": "production",
    }
    # Neither follows the other.
    eb.update_environment(EnvironmentName="shop-b", OptionSettings=[setting("GREETING", "bye")])
    site.end_operations()
    assert chosen(eb, "shop-dev")["GREETING"] == "hello"


def test_a_clone_across_platforms_and_versions(site: ApiSite, eb: Any) -> None:
    site.version("v1")
    site.version("v2")
    eb.create_environment(
        ApplicationName="shop", EnvironmentName="shop-dev", VersionLabel="v1", SolutionStackName="Python 3.11"
    )
    site.end_operations()
    newer = next(each for each in site.control.platforms if each.python == "3.12").arn("local-1")
    made = clone(eb, PlatformArn=newer, VersionLabel="v2", CNAMEPrefix="pets")
    assert (made["PlatformArn"], made["VersionLabel"], made["CNAME"]) == (newer, "v2", "pets.localhost")


def test_what_cannot_be_cloned(site: ApiSite, eb: Any) -> None:
    site.environment()
    eb.create_application(ApplicationName="other")
    unknown = ("InvalidParameterValue", "No Environment found for EnvironmentName = 'shop-dev'.")
    assert refused(clone, eb=eb, ApplicationName="other") == unknown
    assert refused(clone, eb=eb, of="nobody")[1] == "No Environment found for EnvironmentName = 'nobody'."
    assert refused(clone, eb=eb, name="shop-dev") == ("InvalidParameterValue", "Environment shop-dev already exists.")
    taken = ("InvalidParameterValue", "DNS name (shop-dev) is not available.")
    assert refused(clone, eb=eb, CNAMEPrefix="shop-dev") == taken
    source = {"TemplateSource": {"EnvironmentName": "shop-dev"}}
    code, words = refused(eb.update_environment, EnvironmentName="shop-dev", TemplateSpecification=source)
    assert (code, words.startswith("An environment is cloned when it is created")) == ("InvalidParameterValue", True)
    snippets = {"TemplateSnippets": [{"SnippetName": "RdsExtensionEB"}]}
    assert "creates no databases" in refused(clone, eb=eb, TemplateSpecification=source | snippets)[1]

    eb.update_environment(EnvironmentName="shop-dev", OptionSettings=[setting("A", "1")])
    assert refused(clone, eb=eb) == ("InvalidParameterValue", not_ready("shop-dev").message)
    site.end_operations()
    eb.terminate_environment(EnvironmentName="shop-dev")
    site.end_operations()
    assert refused(clone, eb=eb) == unknown
    assert [each["EnvironmentName"] for each in eb.describe_environments()["Environments"]] == []


def test_a_clone_whose_version_was_deleted_meanwhile(site: ApiSite, eb: Any) -> None:
    site.environment()
    site.version("v2")
    eb.update_environment(EnvironmentName="shop-dev", VersionLabel="v2")
    site.end_operations()
    site.meanwhile.append(lambda: eb.delete_application_version(ApplicationName="shop", VersionLabel="v1"))
    assert refused(clone, eb=eb, VersionLabel="v1") == (
        "InvalidParameterValue",
        "No Application Version named 'v1' found.",
    )
    assert len(eb.describe_environments()["Environments"]) == 1
