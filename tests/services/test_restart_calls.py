"""RestartAppServer through the API: what it plans, and when it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.store import environments, instances
from beanpole.store.instances import Endpoint

COMMAND = "aws:elasticbeanstalk:command"
BUSY = "Environment named shop-dev is in an invalid state for this operation. Must be Ready."


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ApiSite]:
    with api_site(tmp_path, session()) as made:
        yield made


def serve(site: ApiSite, identifier: str, number: int, *names: str) -> None:
    with site.control.database.write() as db:
        release = environments.find_release(db, identifier, number)
        assert release is not None
        for name in names:
            instances.drain(db, 0, name, keep=release.digest)
            instances.put_endpoint(db, Endpoint(name, release.digest, "127.0.0.1", 1, "serving", 0, "{}"))


def steps(site: ApiSite) -> list[tuple[str, list[str]]]:
    operation = site.client("beanpole").describe_operations(EnvironmentName="shop-dev")["Operations"][0]
    return [(each["Key"], [one["InstanceId"] for one in each["Instances"]]) for each in operation["Steps"]]


def test_the_same_release_in_its_next_turn_and_in_batches_where_the_policy_is_rolling(site: ApiSite) -> None:
    identifier = site.environment()
    for name in ("i-1", "i-2"):
        site.instance(identifier, name)
    serve(site, identifier, 1, "i-1", "i-2")
    rolling = [
        {"Namespace": COMMAND, "OptionName": "DeploymentPolicy", "Value": "Rolling"},
        {"Namespace": COMMAND, "OptionName": "BatchSize", "Value": "50"},
    ]
    size = {"Namespace": "aws:autoscaling:asg", "OptionName": "MinSize", "Value": "2"}
    site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=[*rolling, size])
    site.end_operations()

    site.client().restart_app_server(EnvironmentName="shop-dev")
    assert site.client().describe_environments()["Environments"][0]["Status"] == "Updating"
    assert ("forward/activate-1", ["i-1"]) in steps(site)
    assert ("forward/activate-2", ["i-2"]) in steps(site)
    assert refused(site.client().restart_app_server, EnvironmentName="shop-dev") == ("InvalidParameterValue", BUSY)
    site.end_operations()
    serve(site, identifier, 3, "i-1", "i-2")

    with site.control.database.read() as db:
        first, second, third = reversed(environments.releases(db, identifier))
        assert (second.digest, third.digest) == (first.digest, f"{first.digest}.1")
        assert third.version_label == first.version_label
        assert environments.kept_digests(db, identifier, 5) == [third.digest], "it is the same release"
    code, message = refused(site.client("beanpole").rollback_environment, EnvironmentName="shop-dev")
    assert (code, "no earlier release" in message) == ("InvalidParameterValue", True)


def test_a_missing_environment_is_named(site: ApiSite) -> None:
    assert refused(site.client().restart_app_server, EnvironmentName="nobody")[0] == "InvalidParameterValue"
    assert refused(site.client().restart_app_server)[0] == "MissingParameter"
