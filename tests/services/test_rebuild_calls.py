"""RebuildEnvironment through the API: of an environment that runs, and of one that was terminated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.control.errors import not_ready
from beanpole.policies import plan as plans
from beanpole.store import environments, instances, operations
from beanpole.store.instances import Endpoint

PROPERTIES = "aws:elasticbeanstalk:application:environment"
DAY = 24 * 3600
SETTING = [{"Namespace": PROPERTIES, "OptionName": "GREETING", "Value": "hello"}]


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


@pytest.fixture
def gone(site: ApiSite, eb: Any) -> str:
    """The id of shop-dev, which had the name `shop`, a setting and the version v1, and was terminated."""
    site.version("v1")
    made = eb.create_environment(
        ApplicationName="shop",
        EnvironmentName="shop-dev",
        VersionLabel="v1",
        CNAMEPrefix="shop",
        SolutionStackName=site.stack,
        OptionSettings=[*SETTING, {"Namespace": "aws:autoscaling:asg", "OptionName": "MinSize", "Value": "2"}],
        Tags=[{"Key": "team", "Value": "pets"}],
    )
    site.end_operations()
    eb.terminate_environment(EnvironmentName="shop-dev")
    site.end_operations()
    return str(made["EnvironmentId"])


def described(eb: Any, identifier: str) -> dict[str, Any]:
    (found,) = eb.describe_environments(EnvironmentIds=[identifier], IncludeDeleted=True)["Environments"]
    return dict(found)


def everything(eb: Any) -> list[Any]:
    return [eb.describe_environments(IncludeDeleted=True)["Environments"], eb.describe_events()["Events"]]


def test_a_terminated_environment_comes_back_as_it_was(site: ApiSite, eb: Any, gone: str, now: list[float]) -> None:
    now[0] += 42 * DAY
    assert described(eb, gone)["CNAME"] == "shop.localhost", "the name that it had is remembered"
    answer = eb.rebuild_environment(EnvironmentId=gone)
    back = described(eb, gone)
    assert (back["Status"], back["EnvironmentName"], back["VersionLabel"]) == ("Launching", "shop-dev", "v1")
    assert back["CNAME"] == "shop.localhost"
    assert eb.check_dns_availability(CNAMEPrefix="shop")["Available"] is False
    site.end_operations()
    assert described(eb, gone)["Status"] == "Ready"
    told = [each["Message"] for each in eb.describe_events(RequestId=answer["ResponseMetadata"]["RequestId"])["Events"]]
    assert told[-1] == "rebuildEnvironment is starting."
    assert told[0] == "Successfully launched environment: shop-dev"
    shown = eb.describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")
    settings = shown["ConfigurationSettings"][0]["OptionSettings"]
    assert SETTING[0].items() <= next(each for each in settings if each["OptionName"] == "GREETING").items()
    tags = eb.list_tags_for_resource(ResourceArn=back["EnvironmentArn"])["ResourceTags"]
    assert {"Key": "team", "Value": "pets"} in tags
    with site.control.database.read() as db:
        operation = operations.listed(db, limit=1)[0]
    launch = next(step for step in plans.decode(operation.plan).steps if type(step).__name__ == "Launch")
    assert (operation.kind, launch.slots) == ("create", ("new-1", "new-2"))


def test_what_cannot_be_had_back(site: ApiSite, eb: Any, gone: str, now: list[float]) -> None:
    rebuild = eb.rebuild_environment
    new = {"ApplicationName": "shop", "VersionLabel": "v1", "SolutionStackName": site.stack}

    def stays(message: str, **named: str) -> None:
        before = everything(eb)
        assert refused(rebuild, **(named or {"EnvironmentId": gone})) == ("InvalidParameterValue", message)
        assert everything(eb) == before

    stays("No Environment found for EnvironmentName = 'shop-dev'.", EnvironmentName="shop-dev")
    stays("No Environment found for EnvironmentName = 'other-dev'.", EnvironmentName="other-dev", EnvironmentId=gone)
    stays("No Environment found for EnvironmentName = 'e-nobody'.", EnvironmentId="e-nobody")

    eb.create_environment(EnvironmentName="shop-dev", **new)
    stays("Environment shop-dev already exists.")
    site.end_operations()
    eb.terminate_environment(EnvironmentName="shop-dev")
    site.end_operations()

    eb.create_environment(EnvironmentName="other-dev", CNAMEPrefix="shop", **new)
    stays("DNS name (shop) is not available.")
    site.end_operations()
    eb.terminate_environment(EnvironmentName="other-dev")
    site.end_operations()

    eb.delete_application_version(ApplicationName="shop", VersionLabel="v1")
    stays("No Application Version named 'v1' found.")
    site.version("v1")
    now[0] += 43 * DAY
    stays(f"Unable to rebuild environment {gone}: it was terminated more than 42 days ago. Create another one.")
    now[0] -= 43 * DAY
    rebuild(EnvironmentId=gone)
    stays(not_ready("shop-dev").message)
    site.end_operations()
    eb.terminate_environment(EnvironmentName="shop-dev")
    stays(not_ready("shop-dev").message)
    site.end_operations()
    eb.delete_application(ApplicationName="shop")
    stays("No Application named 'shop' found.")


def test_nobody_gets_what_is_taken_while_the_release_is_composed(site: ApiSite, eb: Any, gone: str) -> None:
    new = {"ApplicationName": "shop", "VersionLabel": "v1", "SolutionStackName": site.stack}
    site.meanwhile.append(lambda: eb.create_environment(EnvironmentName="shop-dev", **new))
    message = "Environment shop-dev already exists."
    assert refused(eb.rebuild_environment, EnvironmentId=gone) == ("InvalidParameterValue", message)
    assert described(eb, gone)["Status"] == "Terminated"


def test_all_instances_of_a_running_environment_are_made_anew(site: ApiSite, eb: Any) -> None:
    identifier = site.environment()
    site.instance(identifier)
    with site.control.database.write() as db:
        release = environments.find_release(db, identifier, 1)
        assert release is not None
        instances.put_endpoint(db, Endpoint("i-1", release.digest, "127.0.0.1", 1, "serving", 0, "{}"))
    answer = eb.rebuild_environment(EnvironmentName="shop-dev")
    assert described(eb, identifier)["Status"] == "Updating"
    assert described(eb, identifier)["AbortableOperationInProgress"] is True
    words = not_ready("shop-dev").message
    assert refused(eb.rebuild_environment, EnvironmentId=identifier) == ("InvalidParameterValue", words)
    with site.control.database.read() as db:
        operation = operations.listed(db, limit=1)[0]
    steps = plans.decode(operation.plan).steps
    assert (operation.kind, operation.release, operation.previous) == ("rebuild", 1, 1)
    assert [type(step).__name__ for step in steps][0 :: len(steps) - 1] == ["Launch", "Terminate"]
    assert steps[-1].slots == ("i-1",)
    site.end_operations()
    told = [each["Message"] for each in eb.describe_events(RequestId=answer["ResponseMetadata"]["RequestId"])["Events"]]
    assert told == ["Environment update completed successfully.", "rebuildEnvironment is starting."]


def test_rebuilding_names_one(eb: Any) -> None:
    assert refused(eb.rebuild_environment)[0] == "MissingParameter"
