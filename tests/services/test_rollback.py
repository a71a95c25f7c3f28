"""A rollback through the API: what it goes back to, and what it does for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_site import ApiSite, api_site
from served import session

from beanpole.store import environments, instances
from beanpole.store.instances import Endpoint

PROCESS = "aws:elasticbeanstalk:environment:process:default"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ApiSite]:
    with api_site(tmp_path, session()) as made:
        yield made


def test_a_release_that_differs_in_its_health_check_alone_is_gone_back_to_without_touching_an_instance(
    site: ApiSite,
) -> None:
    identifier = site.environment()
    site.instance(identifier)
    with site.control.database.write() as db:
        first = environments.find_release(db, identifier, 1)
        assert first is not None
        instances.put_endpoint(db, Endpoint("i-1", first.digest, "127.0.0.1", 1, "serving", 0, "{}"))
    check = {"Namespace": PROCESS, "OptionName": "HealthCheckPath", "Value": "/health"}
    site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=[check])
    site.end_operations()
    with site.control.database.read() as db:
        second = environments.find_release(db, identifier, 2)
    assert second is not None
    assert second.digest == first.digest, "nothing that a process could notice"

    found = site.client("beanpole").rollback_environment(EnvironmentName="shop-dev", DryRun=True)
    assert found["Release"] == 1
    assert [each["What"] for each in found["Differences"]] == [f"{PROCESS} HealthCheckPath"]
    assert [step["Kind"] for step in found["Plan"]["Steps"]] == ["Register"]

    site.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
    site.end_operations()
    answer = site.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")
    settings = answer["ConfigurationSettings"][0]["OptionSettings"]
    in_force = {(each["Namespace"], each["OptionName"]): each.get("Value") for each in settings}
    assert in_force[PROCESS, "HealthCheckPath"] != "/health"
