"""Policies that launch new instances, asked of the API: what they plan, where they cannot be, and a promotion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.policies import plan as plans
from beanpole.store import environments, hosts, instances, operations
from beanpole.store.hosts import Host
from beanpole.store.instances import Endpoint, Instance

COMMAND = "aws:elasticbeanstalk:command"
ENVIRONMENT = "aws:elasticbeanstalk:environment"
POLICIES = ["RollingWithAdditionalBatch", "Immutable", "TrafficSplitting"]
MB = 2**20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ApiSite]:
    with api_site(tmp_path, session()) as made:
        yield made


def option(namespace: str, name: str, value: object) -> dict[str, str]:
    return {"Namespace": namespace, "OptionName": name, "Value": str(value)}


def environment(site: ApiSite, count: int = 2, *options: dict[str, str], on: tuple[str, ...] = ()) -> str:
    """With so many instances, all serving its first version; on these hosts, or here."""
    site.version("v1")
    answer = site.client().create_environment(
        ApplicationName="shop",
        EnvironmentName="shop-dev",
        VersionLabel="v1",
        SolutionStackName=site.stack,
        OptionSettings=[
            option("aws:autoscaling:asg", "MinSize", count),
            option("aws:autoscaling:asg", "MaxSize", count),
            option(ENVIRONMENT, "LoadBalancerType", "application"),
            option("aws:elasticbeanstalk:healthreporting:system", "SystemType", "enhanced"),
            *options,
        ],
    )
    site.end_operations()
    identifier = str(answer["EnvironmentId"])
    with site.control.database.write() as db:
        release = environments.find_release(db, identifier, 1)
        assert release is not None
        for at in range(1, count + 1):
            home = on[at - 1] if on else None
            instances.add(db, Instance(f"i-{at}", identifier, "running", f"127.0.0.{at}", 1, at, host=home))
            instances.put_endpoint(db, Endpoint(f"i-{at}", release.digest, f"127.0.0.{at}", 1, "serving", 0, "{}"))
    site.version("v2")
    return identifier


def planned(site: ApiSite, *options: dict[str, str], label: str = "v2") -> dict[str, Any]:
    found: dict[str, Any] = site.client("beanpole").plan_environment_update(
        EnvironmentName="shop-dev", VersionLabel=label, OptionSettings=list(options)
    )["Plan"]
    return found


def slots(plan: dict[str, Any], kind: str) -> list[list[str]]:
    return [step["Slots"] for step in plan["Steps"] if step["Kind"] == kind]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_plan_names_its_policy_and_ends_by_retiring_the_oldest(site: ApiSite, policy: str) -> None:
    environment(site)
    one = option(COMMAND, "BatchSize", 50)
    plan = planned(site, option(COMMAND, "DeploymentPolicy", policy), one)
    assert plan["Policy"] == policy
    assert plan["Steps"][-1]["Kind"] == "Retire"
    gone = ["i-1"] if policy == "RollingWithAdditionalBatch" else ["i-1", "i-2"]
    assert slots(plan, "Retire") == [gone]


@pytest.mark.parametrize("count", [1, 4])
def test_another_number_of_instances_comes_with_the_new_ones(site: ApiSite, count: int) -> None:
    environment(site)
    sizes = (option("aws:autoscaling:asg", name, count) for name in ("MinSize", "MaxSize"))
    plan = planned(site, option(COMMAND, "DeploymentPolicy", "Immutable"), *sizes)
    assert sum(map(len, slots(plan, "Launch"))) == count
    assert slots(plan, "Retire") == [["i-1", "i-2"]]
    assert not slots(plan, "Terminate")


def test_the_release_that_runs_is_brought_again_in_place(site: ApiSite) -> None:
    environment(site)
    with site.control.database.write() as db:
        for each in instances.endpoints_of(db, "i-2"):
            instances.remove_endpoint(db, "i-2", each.digest)
    plan = planned(site, option(COMMAND, "DeploymentPolicy", "Immutable"), label="v1")
    assert not slots(plan, "Launch")
    assert slots(plan, "Activate") == [["i-1", "i-2"]]


@pytest.mark.parametrize(("policy", "batches"), [("RollingWithAdditionalBatch", 2), ("Immutable", 1)])
def test_settings_alone_are_brought_to_the_instances_that_there_are(site: ApiSite, policy: str, batches: int) -> None:
    environment(site, 2, option(COMMAND, "DeploymentPolicy", policy), option(COMMAND, "BatchSize", 50))
    plan = planned(site, option("aws:elasticbeanstalk:application:environment", "GREETING", "hello"), label="v1")
    assert not slots(plan, "Launch")
    assert len(slots(plan, "Activate")) == batches


@pytest.mark.parametrize("policy", ["Rolling", "RollingWithAdditionalBatch"])
def test_on_a_single_instance_rolling_is_all_at_once(site: ApiSite, policy: str) -> None:
    environment(site, 1, option(ENVIRONMENT, "EnvironmentType", "SingleInstance"))
    plan = planned(site, option(COMMAND, "DeploymentPolicy", policy))
    assert (plan["Policy"], slots(plan, "Launch")) == ("AllAtOnce", [])


def test_traffic_splitting_on_a_single_instance_is_refused_and_nothing_is_changed(site: ApiSite) -> None:
    identifier = environment(site, 1, option(ENVIRONMENT, "EnvironmentType", "SingleInstance"))
    code, message = refused(
        site.client().update_environment,
        EnvironmentName="shop-dev",
        VersionLabel="v2",
        OptionSettings=[option(COMMAND, "DeploymentPolicy", "TrafficSplitting")],
    )
    assert code == "ConfigurationValidationException"
    assert "Traffic Splitting deployments are compatible only with Application Load Balancers" in message
    with site.control.database.read() as db:
        assert [each.number for each in environments.releases(db, identifier)] == [1]


def host(site: ApiSite, name: str, available: int) -> None:
    facts = json.dumps({"memory_available": available})
    address = json.dumps({"host": f"10.0.0.{name[-1]}"})
    with site.control.database.write() as db:
        known = {"host_key": "key", "app_port": 8080, "labels": "[]", "state": "ready", "facts": facts}
        hosts.add(db, Host(id=name, name=name, address=address, checked_at=10, added_at=0, **known))


def test_a_second_slot_that_has_no_memory_is_refused_with_the_numbers(site: ApiSite) -> None:
    host(site, "h-1", 1000 * MB)
    host(site, "h-2", 1000 * MB)
    environment(site, 2, option("beanpole:fleet", "Location", "ssh"), on=("h-1", "h-2"))
    immutable = option(COMMAND, "DeploymentPolicy", "Immutable")
    plan = planned(site, immutable)
    assert sum(map(len, slots(plan, "Launch"))) == 2, "beside the old ones"
    with site.control.database.write() as db:
        hosts.update(db, "h-2", facts=json.dumps({"memory_available": 20 * MB}))
    code, message = refused(
        site.client().update_environment, EnvironmentName="shop-dev", VersionLabel="v2", OptionSettings=[immutable]
    )
    assert code == "InvalidParameterValue"
    assert message.startswith(
        "2 new instances are needed beside the present ones, and 1 of 2 hosts can take one (h-1); h-2 has 20 MB of "
        "memory available and an instance needs 48 MB."
    )
    assert site.client().describe_environments()["Environments"][0]["Status"] == "Ready"


def test_a_promotion_is_for_what_is_being_watched(site: ApiSite) -> None:
    environment(site)
    promote = site.client("beanpole").promote_environment
    nothing = "has no new version that is being evaluated"
    code, message = refused(promote, EnvironmentName="shop-dev")
    assert code == "InvalidParameterValue"
    assert nothing in message
    site.client().update_environment(
        EnvironmentName="shop-dev",
        VersionLabel="v2",
        OptionSettings=[option(COMMAND, "DeploymentPolicy", "TrafficSplitting")],
    )
    assert nothing in refused(promote, EnvironmentName="shop-dev")[1], "it has not got that far"
    database = site.control.database
    held = operations.claim(database, "test", 60_000)
    assert held is not None
    assert held.deadline_at - held.created_at > 300_000 + 1_800_000, "the evaluation is no part of what may go wrong"
    (watch,) = (step for step in plans.decode(held.plan).steps if isinstance(step, plans.Watch))
    with operations.holding(database, held) as db:
        operations.record(db, held, 0, f"forward/{watch.key}/begin", {})
    answer = promote(EnvironmentName="shop-dev")
    assert (answer["OperationId"], answer["RequestId"]) == (str(held.id), held.request_id)
    with database.read() as db:
        now = operations.find(db, held.id)
    assert now is not None
    assert now.promoted
    events = [each["Message"] for each in site.client().describe_events(RequestId=held.request_id)["Events"]]
    assert any("promoted by" in words for words in events)
    with operations.holding(database, held) as db:
        operations.record(db, held, 0, f"forward/{watch.key}/{watch.slots[0]}", {})
    assert nothing in refused(promote, EnvironmentName="shop-dev")[1], "it is over"


def test_what_is_committed_shows_no_abortable_operation_and_refuses_one(site: ApiSite) -> None:
    environment(site)
    site.client().update_environment(EnvironmentName="shop-dev", VersionLabel="v2")
    shown = site.client().describe_environments()["Environments"][0]
    assert shown["AbortableOperationInProgress"] is True
    held = operations.claim(site.control.database, "test", 60_000)
    assert held is not None
    with operations.holding(site.control.database, held) as db:
        assert operations.commit(db, held)
    shown = site.client().describe_environments()["Environments"][0]
    assert (shown["Status"], shown["AbortableOperationInProgress"]) == ("Updating", False)
    code, message = refused(site.client().abort_environment_update, EnvironmentName="shop-dev")
    assert code == "InvalidParameterValue"
    assert "cannot be aborted any more" in message
