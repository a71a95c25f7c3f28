"""Platform lists: what the interpreters of this machine make possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import errors
from beanpole.control.context import Control
from beanpole.services.elasticbeanstalk import paging

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.aws.call import Call
    from beanpole.platforms.names import Platform

OWNER = "AWSElasticBeanstalk"
"""The owner that clients ask for; there are no custom platforms here, so `self` finds nothing."""

TIERS = ["WebServer/Standard"]


class Platforms:
    def __init__(self, control: Control) -> None:
        self._control = control

    def solution_stacks(self, _call: Call) -> dict[str, Any]:
        names = [platform.solution_stack for platform in self._control.platforms]
        return {
            "SolutionStacks": names,
            "SolutionStackDetails": [{"SolutionStackName": name, "PermittedFileTypes": ["zip"]} for name in names],
        }

    def branches(self, call: Call) -> dict[str, Any]:
        found = [
            {
                "PlatformName": platform.family,
                "BranchName": platform.branch,
                "LifecycleState": "Supported",
                "BranchOrder": len(self._control.platforms) - at,
                "SupportedTierList": TIERS,
            }
            for at, platform in enumerate(self._control.platforms)
        ]
        for wanted in call.params.get("Filters", []):
            found = [each for each in found if _passes(each, wanted)]
        page, token = paging.page(found, call.params.get("NextToken"), call.params.get("MaxRecords"))
        return {"PlatformBranchSummaryList": page, "NextToken": token}

    def versions(self, call: Call) -> dict[str, Any]:
        found = [self._summary(platform) for platform in self._control.platforms]
        for wanted in call.params.get("Filters", []):
            found = [each for each in found if _matches(each, wanted)]
        page, token = paging.page(found, call.params.get("NextToken"), call.params.get("MaxRecords"))
        return {"PlatformSummaryList": page, "NextToken": token}

    def describe(self, call: Call) -> dict[str, Any]:
        arn = call.params.get("PlatformArn")
        platform = self._control.platforms.by_arn(arn or "", self._control.identity.region)
        if platform is None:
            raise errors.invalid(f"No Platform named '{arn}' found.")
        return {
            "PlatformDescription": self._summary(platform)
            | {
                "PlatformName": platform.branch,
                "SolutionStackName": platform.solution_stack,
                "Description": f"{platform.shorthand} on servers that you own",
                "Maintainer": "Beanpole",
                "ProgrammingLanguages": [{"Name": platform.family, "Version": platform.python}],
                "Frameworks": [],
                "CustomAmiList": [],
            }
        }

    def _summary(self, platform: Platform) -> dict[str, Any]:
        return {
            "PlatformArn": platform.arn(self._control.identity.region),
            "PlatformOwner": OWNER,
            "PlatformStatus": "Ready",
            "PlatformCategory": platform.family,
            "OperatingSystemName": "Linux",
            "OperatingSystemVersion": "",
            "SupportedTierList": TIERS,
            "SupportedAddonList": [],
            "PlatformLifecycleState": "Recommended",
            "PlatformVersion": platform.version,
            "PlatformBranchName": platform.branch,
            "PlatformBranchLifecycleState": "Supported",
        }


_ATTRIBUTES = {"TierType": "SupportedTierList"}


def _passes(branch: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """One filter of ListPlatformBranches: an attribute, an operator and values."""
    attribute, operator = wanted.get("Attribute", ""), wanted.get("Operator", "=")
    has = branch.get(_ATTRIBUTES.get(attribute, attribute))
    having = [str(each).lower() for each in (has if isinstance(has, list) else [has])]
    values = [value.lower() for value in wanted.get("Values", [])]
    tests: dict[str, Callable[[str, str], bool]] = {
        "=": lambda one, other: one == other,
        "in": lambda one, other: one == other,
        "contains": lambda one, other: other in one,
        "begins_with": lambda one, other: one.startswith(other),
        "ends_with": lambda one, other: one.endswith(other),
    }
    negated = operator in ("!=", "not_in")
    test = tests.get({"!=": "=", "not_in": "in"}.get(operator, operator))
    if test is None:
        raise errors.invalid(f"Operator '{operator}' is not one that ListPlatformBranches knows.")
    return any(test(one, other) for one in having for other in values) is not negated


_TYPES = {
    "PlatformName": "PlatformBranchName",
    "OperatingSystemName": "OperatingSystemName",
    "SupportedTier": "SupportedTierList",
    "ProgrammingLanguageName": "PlatformCategory",
}


def _matches(summary: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """One filter of ListPlatformVersions: a type, an operator and values."""
    kind = wanted.get("Type", "")
    has = summary.get(_TYPES.get(kind, kind))
    values = wanted.get("Values", [])
    if kind == "PlatformVersion" and "latest" in values:
        return True  # there is one version of each
    having = has if isinstance(has, list) else [has]
    found = any(each in values for each in having)
    return not found if wanted.get("Operator") in ("!=", "not_in") else found
