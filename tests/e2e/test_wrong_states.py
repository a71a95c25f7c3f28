"""Calls that come at the wrong time: refused in the API's own sentences, except what must always be heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, properties, refused, shared_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wrong states")]

NOT_READY = "Environment named shop-dev is in an invalid state for this operation. Must be Ready."
NOTHING_RUNS = "Environment named shop-dev has no operation in progress that can be aborted."

HOLD = """
container_commands:
  01_hold:
    command: while [ -e "$HOLD" ]; do sleep 0.05; done
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with shared_site() as site:
        site.create(app("probe", "v1"), settings=(*BRISK, *properties(HOLD=site.root / "hold")))
        yield site


@pytest.fixture
def updating(shared: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """In the middle of a deployment, which is over when the test is."""
    (shared.root / "hold").touch()
    label = request.node.name[:40]
    begun = shared.begin(label, app("probe", label, **{".ebextensions/01.config": HOLD}))
    wait_for("the held command", lambda: step(shared, begun) == "Prepare")
    yield shared
    (shared.root / "hold").unlink()
    shared.ended(request_id=begun)
    assert shared.environment()["Status"] == "Ready"


def step(site: Site, request_id: str) -> str:
    """The kind of the step that runs."""
    found = site.operation(request_id)
    steps = found["Steps"] if found else []
    return next((str(each["Kind"]) for each in steps if each["State"] == "running"), "")


def invalid(call: Any, **arguments: Any) -> str:
    code, message = refused(call, **arguments)
    assert code == "InvalidParameterValue"
    return message


def test_a_second_change_is_refused_while_one_is_under_way(updating: Site) -> None:
    eb, own = updating.client(), updating.client("beanpole")
    before = updating.client("beanpole").describe_operations(EnvironmentName="shop-dev")["Operations"]
    assert updating.environment()["Status"] == "Updating"
    assert updating.environment()["AbortableOperationInProgress"] is True
    assert invalid(eb.update_environment, EnvironmentName="shop-dev", VersionLabel="v1") == NOT_READY
    assert invalid(eb.update_environment, EnvironmentName="shop-dev", OptionSettings=[]) == NOT_READY
    assert invalid(own.rollback_environment, EnvironmentName="shop-dev") == NOT_READY
    after = updating.client("beanpole").describe_operations(EnvironmentName="shop-dev")["Operations"]
    assert [each["OperationId"] for each in after] == [each["OperationId"] for each in before]


def test_an_abort_returns_and_is_refused_when_nothing_runs(shared: Site, updating: Site) -> None:
    eb = shared.client()
    before = shared.environment()["VersionLabel"]
    eb.abort_environment_update(EnvironmentName="shop-dev")
    wait_for("the end of the abort", lambda: shared.environment()["Status"] == "Ready")
    told = shared.events(EnvironmentName="shop-dev")
    assert "The environment was reverted to the previous configuration setting." in told[-2:]
    assert shared.serving() == {before}
    assert shared.environment()["VersionLabel"] == before
    assert invalid(eb.abort_environment_update, EnvironmentName="shop-dev") == NOTHING_RUNS


def test_what_is_in_use_is_not_deleted(shared: Site) -> None:
    eb = shared.client()
    label = shared.environment()["VersionLabel"]
    message = invalid(eb.delete_application_version, ApplicationName="shop", VersionLabel=label)
    assert message == f"Unable to delete application version {label} because it is deployed in: shop-dev."
    code, message = refused(eb.delete_application, ApplicationName="shop")
    assert code == "OperationInProgressFailure"
    assert "shop-dev" in message
    assert shared.serving() == {label}
    assert eb.describe_application_versions(ApplicationName="shop", VersionLabels=[label])["ApplicationVersions"]


def test_names_that_are_taken(shared: Site) -> None:
    eb = shared.client()
    new = {"ApplicationName": "shop", "VersionLabel": "v1", "SolutionStackName": shared.stack()}
    taken = invalid(eb.create_environment, EnvironmentName="shop-dev", **new)
    assert taken == "Environment shop-dev already exists."
    for prefix in ("shop-dev", "SHOP-DEV"):
        message = invalid(eb.create_environment, EnvironmentName="other-env", CNAMEPrefix=prefix, **new)
        assert message == f"DNS name ({prefix}) is not available."
        assert eb.check_dns_availability(CNAMEPrefix=prefix)["Available"] is False
    assert len(eb.describe_environments()["Environments"]) == 1


@pytest.mark.long
def test_a_termination_is_heard_in_the_middle_of_an_update_and_of_a_launch_but_not_twice(site: Site) -> None:
    eb = site.client()
    hold = site.root / "hold"
    held = app("probe", "held", **{".ebextensions/01.config": HOLD})
    site.create(app("probe", "v1"), settings=(*BRISK, *properties(HOLD=hold)))
    hold.touch()
    request = site.begin("held", held)
    wait_for("the held command", lambda: step(site, request) == "Prepare")
    terminated(site)
    assert site.ended(request_id=request)["Outcome"] == "aborted"

    new = {"ApplicationName": "shop", "VersionLabel": "held", "SolutionStackName": site.stack()}
    settings = [
        {"Namespace": space, "OptionName": name, "Value": value} for space, name, value in properties(HOLD=hold)
    ]
    answer = eb.create_environment(EnvironmentName="shop-dev", OptionSettings=settings, **new)
    wait_for("the held command", lambda: step(site, answer["ResponseMetadata"]["RequestId"]) == "Prepare")
    assert site.environment()["Status"] == "Launching"
    assert invalid(eb.update_environment, EnvironmentName="shop-dev", VersionLabel="v1") == NOT_READY
    terminated(site)
    eb.delete_application(ApplicationName="shop")
    assert eb.describe_applications()["Applications"] == []


def terminated(site: Site) -> None:
    """Terminate the environment, which ends also what was held; nothing of it stays."""
    eb = site.client()
    of_instances = set(site.processes())
    answer = eb.terminate_environment(EnvironmentName="shop-dev")
    assert answer["Status"] == "Terminating"
    again, words = refused(eb.terminate_environment, EnvironmentName="shop-dev")
    assert again == "InvalidParameterValue"
    # The first termination may have ended in between.
    assert words in (
        "Environment named shop-dev is being terminated already.",
        "No Environment found for EnvironmentName = 'shop-dev'.",
    )
    ended = site.ended(request_id=answer["ResponseMetadata"]["RequestId"])
    assert ended["Outcome"] == "succeeded", ended
    told = site.events(RequestId=answer["ResponseMetadata"]["RequestId"])
    assert told[-1] == "terminateEnvironment completed successfully."
    message = invalid(eb.abort_environment_update, EnvironmentName="shop-dev")
    assert message == "No Environment found for EnvironmentName = 'shop-dev'."
    assert eb.describe_environments()["Environments"] == []
    wait_for("the end of its processes", lambda: len(site.processes()) < len(of_instances))
    left = [pid for pid in site.processes() if "/instances/" in cwd(pid)]
    assert left == []
    assert list(site.home.instances.iterdir()) == []


def cwd(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""
