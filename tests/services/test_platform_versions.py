"""An environment stays on the platform version that it was created with until it is told to go over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.control import rollback
from beanpole.control.context import By
from beanpole.platforms import names

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


@pytest.fixture
def newer(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ARN of what an environment, which is there already, could have instead of what it has."""
    site.environment()
    monkeypatch.setattr(names, "VERSION", "4.2.0")
    object.__setattr__(site.control, "platforms", names.Platforms(["3.11", "3.12"]))
    return next(iter(site.control.platforms)).arn("local-1")


def has(eb: Any) -> str:
    """The version that the environment has, which all descriptions agree on."""
    (found,) = eb.describe_environments()["Environments"]
    (settings,) = eb.describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")[
        "ConfigurationSettings"
    ]
    assert settings["PlatformArn"] == found["PlatformArn"]
    version: str = found["PlatformArn"].rpartition("/")[2]
    assert f" v{version} " in found["SolutionStackName"]
    return version


def change(site: ApiSite, **params: Any) -> None:
    site.client().update_environment(EnvironmentName="shop-dev", **params)
    site.end_operations()


def test_it_stays_and_goes_over_and_comes_back(site: ApiSite, eb: Any, newer: str) -> None:
    assert has(eb) == "4.1.0"
    site.version("v2")
    change(site, VersionLabel="v2")
    change(site, OptionSettings=[{"Namespace": PROPERTIES, "OptionName": "A", "Value": "1"}])
    assert has(eb) == "4.1.0"
    change(site, PlatformArn=newer)
    assert has(eb) == "4.2.0"
    back = rollback.decide(site.control, name="shop-dev", id_=None, number=None)
    rollback.rollback(site.control, By("jo", "r"), back)
    site.end_operations()
    assert has(eb) == "4.1.0"


def test_going_over_touches_every_instance(site: ApiSite, eb: Any, newer: str) -> None:
    """Its files and settings are the same; what runs them is not."""
    change(site, PlatformArn=newer)
    own = site.client("beanpole")
    new, old = own.describe_releases(EnvironmentName="shop-dev")["Releases"]
    assert new["Digest"] != old["Digest"]


def test_the_older_version_is_described_and_cannot_be_had(site: ApiSite, eb: Any, newer: str) -> None:
    (environment,) = eb.describe_environments()["Environments"]
    older = environment["PlatformArn"]
    described = eb.describe_platform_version(PlatformArn=older)["PlatformDescription"]
    assert (described["PlatformVersion"], described.get("PlatformLifecycleState", "")) == ("4.1.0", "")
    newest = eb.describe_platform_version(PlatformArn=newer)["PlatformDescription"]
    assert newest["PlatformLifecycleState"] == "Recommended"
    listed = eb.list_platform_versions()["PlatformSummaryList"]
    assert {each["PlatformVersion"] for each in listed} == {"4.2.0"}
    code, words = refused(eb.update_environment, EnvironmentName="shop-dev", PlatformArn=older)
    assert (code, words.startswith(f"No Solution Stack named '{older}' found.")) == ("InvalidParameterValue", True)


def test_clones_are_of_the_newest_version(site: ApiSite, eb: Any, newer: str) -> None:
    source = {"TemplateSource": {"EnvironmentName": "shop-dev"}}
    made = eb.create_environment(ApplicationName="shop", EnvironmentName="shop-b", TemplateSpecification=source)
    assert made["PlatformArn"] == newer
