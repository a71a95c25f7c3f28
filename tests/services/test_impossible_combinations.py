"""What cannot be together is refused with Elastic Beanstalk's code and sentence, and nothing at all is changed by it.

Everything that the store remembers is compared, of all tables but the audit, in which refusals are what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.store import environments
from beanpole.store.schema import audit, metadata

ASG = "aws:autoscaling:asg"
COMMAND = "aws:elasticbeanstalk:command"
ENVIRONMENT = "aws:elasticbeanstalk:environment"
HEALTH = "aws:elasticbeanstalk:healthreporting:system"
PROCESS = "aws:elasticbeanstalk:environment:process:default"
UPDATE = "aws:autoscaling:updatepolicy:rollingupdate"
VALUE, COMBINATION = "InvalidParameterValue", "InvalidParameterCombination"
VALIDATION = "ConfigurationValidationException"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    """Environments that are ready: shop-dev, shop-b, and shop-worker, which is a worker; one that is terminated:
    shop-gone. A saved configuration `mine` and versions v1 and v2. All tests share it, since none changes anything."""
    with api_site(tmp_path_factory.mktemp("site"), session()) as made:
        eb = made.client()
        for name in ("shop-dev", "shop-b", "shop-worker", "shop-gone"):
            if name != "shop-dev":
                eb.create_environment(
                    ApplicationName="shop", EnvironmentName=name, VersionLabel="v1", SolutionStackName=made.stack
                )
                made.end_operations()
            else:
                made.environment(name)
        made.version("v2")
        eb.terminate_environment(EnvironmentName="shop-gone")
        made.end_operations()
        with made.control.database.write() as db:
            worker = environments.find_live(db, "shop-worker")
            assert worker is not None
            environments.update(db, worker.id, tier="Worker")
        eb.create_configuration_template(ApplicationName="shop", TemplateName="mine", SolutionStackName=made.stack)
        yield made


def everything(site: ApiSite) -> dict[str, list[Any]]:
    with site.control.database.read() as db:
        return {
            table.name: sorted(map(repr, db.execute(sa.select(table)).all()))
            for table in metadata.sorted_tables
            if table is not audit
        }


def of(namespace: str, name: str, value: object) -> dict[str, str]:
    return {"Namespace": namespace, "OptionName": name, "Value": str(value)}


SINGLE = of(ENVIRONMENT, "EnvironmentType", "SingleInstance")
SPLITTING = of(COMMAND, "DeploymentPolicy", "TrafficSplitting")
ROLLING = of(UPDATE, "RollingUpdateEnabled", "true")


def sizes(least: int, most: int) -> list[dict[str, str]]:
    return [of(ASG, "MinSize", least), of(ASG, "MaxSize", most)]


def invalid(option: dict[str, str], reason: str) -> str:
    where = f"(Namespace: '{option['Namespace']}', OptionName: '{option['OptionName']}')"
    return f"Configuration validation exception: Invalid option value: '{option['Value']}' {where}: {reason}"


UNBALANCED = invalid(SPLITTING, "Traffic Splitting deployments are compatible only with Application Load Balancers")
NO_ROLLING = invalid(ROLLING, "You can't enable rolling updates for a single-instance environment")
SPARED = of(UPDATE, "MinInstancesInService", 4)
LARGE = of(COMMAND, "BatchSize", 150)
SLOW = of(PROCESS, "HealthCheckTimeout", 15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([SPLITTING, SINGLE], UNBALANCED),
        ([SPLITTING, of(ENVIRONMENT, "LoadBalancerType", "classic")], UNBALANCED),
        (
            [SPLITTING, of(ENVIRONMENT, "LoadBalancerType", "application"), of(HEALTH, "SystemType", "basic")],
            invalid(SPLITTING, "Traffic Splitting deployments require enhanced SystemType."),
        ),
        ([ROLLING, SINGLE], NO_ROLLING),
        (
            [ROLLING, *sizes(2, 4), SPARED],
            invalid(SPARED, "Value should be less than the maximum instance count for the Autoscaling group"),
        ),
        ([*sizes(5, 4)], invalid(of(ASG, "MinSize", 5), "MinSize is greater than MaxSize")),
        (
            [LARGE, of(COMMAND, "BatchSizeType", "Percentage")],
            invalid(LARGE, "Value is greater than maximum allowed value: 100"),
        ),
        (
            [SLOW, of(PROCESS, "HealthCheckInterval", 15)],
            invalid(SLOW, "HealthCheckTimeout must be less than HealthCheckInterval"),
        ),
    ],
)
@pytest.mark.parametrize("call", ["create_environment", "update_environment"])
def test_settings_that_cannot_be_together(
    site: ApiSite, call: str, options: list[dict[str, str]], message: str
) -> None:
    before = everything(site)
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-new", "VersionLabel": "v1"}
    new |= {"SolutionStackName": site.stack}
    params = new if call == "create_environment" else {"EnvironmentName": "shop-dev"}
    found = refused(getattr(site.client(), call), OptionSettings=options, **params)
    assert found[0] == VALIDATION
    assert message in found[1]
    assert everything(site) == before


def a_worker_with_splitting(site: ApiSite) -> tuple[str, str]:
    tier = {"Tier": {"Name": "Worker", "Type": "SQS/HTTP"}, "OptionSettings": [SPLITTING]}
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-new", "VersionLabel": "v1"}
    return refused(site.client().create_environment, SolutionStackName=site.stack, **new, **tier)


def two_by_name_and_id(site: ApiSite) -> tuple[str, str]:
    there = site.client().describe_environments(EnvironmentNames=["shop-b"])["Environments"][0]["EnvironmentId"]
    names = {"SourceEnvironmentName": "shop-dev", "DestinationEnvironmentId": there}
    return refused(site.client().swap_environment_cnames, **names)


def swap_of_workers(site: ApiSite) -> tuple[str, str]:
    names = {"SourceEnvironmentName": "shop-dev", "DestinationEnvironmentName": "shop-worker"}
    return refused(site.client().swap_environment_cnames, **names)


def swap_with_itself(site: ApiSite) -> tuple[str, str]:
    names = {"SourceEnvironmentName": "shop-dev", "DestinationEnvironmentName": "shop-dev"}
    return refused(site.client().swap_environment_cnames, **names)


def clone_of_a_terminated(site: ApiSite) -> tuple[str, str]:
    source = {"TemplateSource": {"EnvironmentName": "shop-gone"}}
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-new", "VersionLabel": "v1"}
    return refused(site.client().create_environment, TemplateSpecification=source, **new)


def a_second_of_one_name(site: ApiSite) -> tuple[str, str]:
    new = {"ApplicationName": "shop", "TemplateName": "mine", "SolutionStackName": site.stack}
    return refused(site.client().create_configuration_template, **new)


def a_version_that_is_gone(site: ApiSite) -> tuple[str, str]:
    return refused(site.client().update_environment, EnvironmentName="shop-dev", VersionLabel="v9")


def a_version_in_use(site: ApiSite) -> tuple[str, str]:
    return refused(site.client().delete_application_version, ApplicationName="shop", VersionLabel="v1")


def two_platforms(site: ApiSite) -> tuple[str, str]:
    arn = site.client().list_platform_versions()["PlatformSummaryList"][0]["PlatformArn"]
    both = {"SolutionStackName": site.stack, "PlatformArn": arn}
    return refused(site.client().update_environment, EnvironmentName="shop-dev", **both)


def a_saved_configuration_and_a_platform(site: ApiSite) -> tuple[str, str]:
    new = {"ApplicationName": "shop", "EnvironmentName": "shop-new", "VersionLabel": "v1"}
    return refused(site.client().create_environment, TemplateName="mine", SolutionStackName=site.stack, **new)


def an_abort_of_nothing(site: ApiSite) -> tuple[str, str]:
    return refused(site.client().abort_environment_update, EnvironmentName="shop-dev")


def another_location(site: ApiSite) -> tuple[str, str]:
    options = {"OptionSettings": [of("beanpole:fleet", "Location", "ssh")]}
    return refused(site.client().update_environment, EnvironmentName="shop-dev", **options)


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        (a_worker_with_splitting, VALUE, "Tier Worker is not built yet: Beanpole has WebServer environments."),
        (swap_of_workers, VALUE, "Environment named shop-worker is a worker: it has no CNAME to swap."),
        (swap_with_itself, VALUE, "Environment named shop-dev cannot be swapped with itself."),
        (two_by_name_and_id, COMBINATION, "Name both environments by their ids, or both by their names."),
        (clone_of_a_terminated, VALUE, "No Environment found for EnvironmentName = 'shop-gone'."),
        (a_second_of_one_name, VALUE, "Configuration Template mine already exists."),
        (a_version_that_is_gone, VALUE, "No Application Version named 'v9' found."),
        (a_version_in_use, VALUE, "Unable to delete application version v1 because it is deployed in: shop-b, "),
        (two_platforms, COMBINATION, "PlatformArn and SolutionStackName cannot be given together."),
        (
            a_saved_configuration_and_a_platform,
            COMBINATION,
            "SolutionStackName cannot be given with the TemplateName of one that has a platform.",
        ),
        (an_abort_of_nothing, VALUE, "Environment named shop-dev has no operation in progress that can be aborted."),
        (another_location, VALUE, "Environment named shop-dev has the location local, which cannot be changed to ssh."),
    ],
)
def test_calls_that_cannot_be(
    site: ApiSite, call: Callable[[ApiSite], tuple[str, str]], code: str, message: str
) -> None:
    before = everything(site)
    found = call(site)
    assert found[0] == code
    assert message in found[1]
    assert everything(site) == before


def test_a_version_that_is_deleted_while_it_is_decided_on(site: ApiSite) -> None:
    """The store is as if somebody had only deleted it."""
    before = everything(site)
    delete = site.client().delete_application_version
    site.meanwhile.append(lambda: delete(ApplicationName="shop", VersionLabel="v2"))
    found = refused(site.client().update_environment, EnvironmentName="shop-dev", VersionLabel="v2")
    assert found == (VALUE, "No Application Version named 'v2' found.")
    after = everything(site)
    for table in ("environment", "release", "operation", "option"):
        assert after[table] == before[table]
