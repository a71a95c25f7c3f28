"""Lists of platforms through the API, filtered as clients filter them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_site import ApiSite, api_site, refused
from served import session


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(tmp_path_factory.mktemp("site"), session()) as made:
        yield made


def versions(site: ApiSite, *filters: tuple[str, str, str]) -> list[str]:
    asked = [{"Type": kind, "Operator": operator, "Values": [value]} for kind, operator, value in filters]
    found = site.client().list_platform_versions(Filters=asked)["PlatformSummaryList"]
    return [each["PlatformBranchName"].partition(" running")[0] for each in found]


BOTH = ["Python 3.12", "Python 3.11"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("PlatformOwner", "=", "self")], []),
        ([("PlatformOwner", "=", "AWSElasticBeanstalk"), ("PlatformStatus", "=", "Ready")], BOTH),
        ([("PlatformName", "contains", "3.11")], ["Python 3.11"]),
        ([("PlatformBranchName", "begins_with", "Python 3.12")], ["Python 3.12"]),
        ([("PlatformBranchName", "ends_with", "2023")], BOTH),
        ([("PlatformBranchName", "!=", "Python 3.12 running on 64bit Amazon Linux 2023")], ["Python 3.11"]),
        ([("PlatformVersion", "=", "latest")], BOTH),
        ([("PlatformVersion", ">", "4.0.9")], BOTH),
        ([("PlatformVersion", "<", "4.0.9")], []),
        ([("PlatformVersion", ">=", "10.0.0")], []),
        ([("SupportedTier", "=", "Worker/SQS/HTTP")], []),
        ([("SupportedAddon", "=", "Log/S3")], []),
    ],
)
def test_versions(site: ApiSite, filters: list[tuple[str, str, str]], expected: list[str]) -> None:
    assert versions(site, *filters) == expected


def test_what_no_filter_is(site: ApiSite) -> None:
    eb: Any = site.client()
    for wanted in ({"Type": "PlatformName", "Operator": "like"}, {"Type": "Colour", "Operator": "="}):
        found = refused(eb.list_platform_versions, Filters=[{**wanted, "Values": ["x"]}])
        assert found[0] == "InvalidParameterValue"
    for wanted in ({"Attribute": "BranchName", "Operator": ">"}, {"Attribute": "Colour", "Operator": "="}):
        found = refused(eb.list_platform_branches, Filters=[{**wanted, "Values": ["x"]}])
        assert found[0] == "InvalidParameterValue"
    asked = [{"Attribute": "LifecycleState", "Operator": "!=", "Values": ["Retired"]}]
    assert len(eb.list_platform_branches(Filters=asked)["PlatformBranchSummaryList"]) == 2
