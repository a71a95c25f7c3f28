"""Platform lists: what the interpreters of this machine make possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import errors
from beanpole.control.context import Control
from beanpole.services.elasticbeanstalk import filters, paging

if TYPE_CHECKING:
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
        platforms, region = self._control.platforms, self._control.identity.region
        platform = platforms.by_arn(arn or "", region) or platforms.former(arn or "", region)
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
            # The state that older versions have is none: clients say then that there is a newer one.
            "PlatformLifecycleState": "Recommended" if platform.version == self._control.platforms.version else "",
            "PlatformVersion": platform.version,
            "PlatformBranchName": platform.branch,
            "PlatformBranchLifecycleState": "Supported",
        }


_BRANCH_FIELDS = {
    "BranchName": "BranchName",
    "LifecycleState": "LifecycleState",
    "PlatformName": "PlatformName",
    "TierType": "SupportedTierList",
}


def _passes(branch: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """One filter of ListPlatformBranches."""
    has = filters.attribute(branch, wanted.get("Attribute", ""), _BRANCH_FIELDS)
    return filters.passes(has, wanted.get("Operator", "="), wanted.get("Values", []), filters.BRANCHES)


_VERSION_FIELDS = {
    "OperatingSystemName": "OperatingSystemName",
    "PlatformBranchName": "PlatformBranchName",
    "PlatformLifecycleState": "PlatformLifecycleState",
    "PlatformName": "PlatformBranchName",
    "PlatformOwner": "PlatformOwner",
    "PlatformStatus": "PlatformStatus",
    "PlatformVersion": "PlatformVersion",
    "ProgrammingLanguageName": "PlatformCategory",
    "SupportedAddon": "SupportedAddonList",
    "SupportedTier": "SupportedTierList",
}


def _matches(summary: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """One filter of ListPlatformVersions."""
    has = filters.attribute(summary, wanted.get("Type", ""), _VERSION_FIELDS)
    given = wanted.get("Values", [])
    # There is one version of each platform, so that one is the latest.
    values = [has if wanted["Type"] == "PlatformVersion" and each == "latest" else each for each in given]
    return filters.passes(has, wanted.get("Operator", "="), values, filters.VERSIONS)
