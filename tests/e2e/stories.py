"""What the tests of applications share: quick settings, one site for the tests of a file, the journal, refusals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from beanpole_site import Settings, Site
from botocore.exceptions import ClientError

DEPLOYMENT = "beanpole:deployment"
COMMAND = "aws:elasticbeanstalk:command"
PROCESS = "aws:elasticbeanstalk:environment:process:default"
PROPERTIES = "aws:elasticbeanstalk:application:environment"

BRISK: Settings = (
    (DEPLOYMENT, "StartTimeout", "10"),
    (DEPLOYMENT, "GateChecks", "2"),
    (DEPLOYMENT, "GateInterval", "0.1"),
    (DEPLOYMENT, "StopGrace", "3"),
    (PROCESS, "DeregistrationDelay", "2"),
)
PATIENT_START: Settings = ((DEPLOYMENT, "StartTimeout", "20"),)
"""For applications that import a framework, on a machine with much else to do."""

ONE_BY_ONE: Settings = (
    (COMMAND, "DeploymentPolicy", "Rolling"),
    (COMMAND, "BatchSizeType", "Fixed"),
    (COMMAND, "BatchSize", "1"),
)

UPDATED = "Environment update completed successfully."
NOT_DEPLOYED = "Failed to deploy application."


@contextlib.contextmanager
def shared_site() -> Iterator[Site]:
    """As the fixture `site`, for a fixture of a whole module."""
    made = Site()
    try:
        made.start()
        yield made
    finally:
        print(made.log())  # shown where a test fails
        made.end()


def properties(**values: object) -> Settings:
    """Environment properties as option settings."""
    return tuple((PROPERTIES, name, str(value)) for name, value in values.items())


def rolled_back(site: Site, name: str = "shop-dev") -> dict[str, Any]:
    """`beanpole rollback`: the operation when it has ended."""
    answer = site.client("beanpole").rollback_environment(EnvironmentName=name)
    return site.ended(request_id=answer["ResponseMetadata"]["RequestId"])


def body(site: Site, path: str = "/version") -> dict[str, Any]:
    """The JSON that the balancer's users get."""
    status, text = site.get(path)
    assert status == 200, (path, status, text)
    return dict(json.loads(text))


def journal(site: Site, operation: dict[str, Any], step: str) -> list[dict[str, Any]]:
    """The results that the slots of a step have in an operation's journal."""
    query = (
        "SELECT result FROM journal WHERE operation_id = :of AND key LIKE :step AND key NOT LIKE '%/begin' ORDER BY id"
    )
    rows = site.ask(query, of=int(operation["OperationId"]), step=f"%/{step}/%")
    return [json.loads(result) for (result,) in rows]


def in_force(site: Site, name: str = "shop-dev") -> dict[tuple[str, str], str]:
    """The settings that DescribeConfigurationSettings calls deployed."""
    answer = site.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName=name)
    settings = answer["ConfigurationSettings"][0]["OptionSettings"]
    return {(each["Namespace"], each["OptionName"]): each.get("Value", "") for each in settings}


def lost(report: dict[str, Any]) -> str:
    return f"{report['failed']} of {report['sent']}: {report['kinds']} {report['failures'][:5]}"


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Code and message of the API's error; AssertionError when the call is taken."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"]), str(error.response["Error"]["Message"])
    raise AssertionError(f"was taken: {arguments} -> {answer}")


def everything(eb: Any) -> list[Any]:
    """All that a refused call must leave as it was."""
    return [
        eb.describe_applications()["Applications"],
        eb.describe_application_versions()["ApplicationVersions"],
        eb.describe_environments(IncludeDeleted=True)["Environments"],
        eb.describe_events()["Events"],
    ]
