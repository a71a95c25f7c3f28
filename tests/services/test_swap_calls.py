"""SwapEnvironmentCNAMEs through the API: what it does to both environments, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.control.errors import not_ready
from beanpole.fleet.edges import Listen
from beanpole.fleet.scene import scene_of
from beanpole.store import edges, environments, operations

NAMES = {"SourceEnvironmentName": "blue-env", "DestinationEnvironmentName": "green-env"}


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def ids(site: ApiSite) -> tuple[str, str]:
    return site.environment("blue-env"), site.environment("green-env", "v2")


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def known(eb: Any) -> dict[str, tuple[str, str]]:
    """Status and name of each."""
    found = eb.describe_environments(IncludeDeleted=False)["Environments"]
    return {each["EnvironmentName"]: (each["Status"], each["CNAME"]) for each in found}


READY = {"blue-env": ("Ready", "blue-env.localhost"), "green-env": ("Ready", "green-env.localhost")}


def test_both_are_busy_until_it_is_over(site: ApiSite, eb: Any, ids: tuple[str, str]) -> None:
    answer = eb.swap_environment_cnames(**NAMES)
    assert {status for status, _ in known(eb).values()} == {"Updating"}
    assert not any(each["AbortableOperationInProgress"] for each in eb.describe_environments()["Environments"])
    for name in ("blue-env", "green-env"):
        words = not_ready(name).message
        assert refused(eb.update_environment, EnvironmentName=name, VersionLabel="v1")[1] == words
        nothing = f"Environment named {name} has no operation in progress that can be aborted."
        assert refused(eb.abort_environment_update, EnvironmentName=name)[1] == nothing
    assert refused(eb.swap_environment_cnames, **NAMES)[1] == not_ready("blue-env").message
    (first, second) = eb.describe_events(RequestId=answer["ResponseMetadata"]["RequestId"])["Events"][::-1]
    assert first["Message"] == "swapEnvironmentCNAMEs is starting."
    assert second["Message"] == "Swapping CNAMEs for environments 'blue-env' and 'green-env'."
    site.end_operations()
    assert known(eb) == READY, "nothing was carried out in this test"
    closing = eb.describe_events(RequestId=answer["ResponseMetadata"]["RequestId"])["Events"][0]
    assert closing["Message"] == "Completed swapping CNAMEs for environments 'blue-env' and 'green-env'."
    assert {first["EnvironmentName"], second["EnvironmentName"], closing["EnvironmentName"]} == {"blue-env"}


@pytest.mark.parametrize("which", ["blue-env", "green-env"])
def test_a_termination_of_either_is_heard_and_the_other_one_is_free_again(
    site: ApiSite, eb: Any, ids: tuple[str, str], which: str
) -> None:
    request = eb.swap_environment_cnames(**NAMES)["ResponseMetadata"]["RequestId"]
    eb.terminate_environment(EnvironmentName=which)
    site.end_operations()
    (left,) = {"blue-env", "green-env"} - {which}
    assert known(eb) == {left: READY[left]}
    assert eb.describe_events(RequestId=request)["Events"][0]["EnvironmentName"] == "blue-env"
    assert eb.update_environment(EnvironmentName=left, VersionLabel="v1")["Status"] == "Updating"


def test_what_cannot_be_swapped(site: ApiSite, eb: Any, ids: tuple[str, str]) -> None:
    blue, green = ids
    swap = eb.swap_environment_cnames
    events = len(eb.describe_events()["Events"])

    def by(**named: str) -> tuple[str, str]:
        return refused(
            swap,
            **{f"{name}Environment{which}": value for key, value in named.items() for name, which in [key.split("_")]},
        )

    missing = "MissingParameter"
    assert refused(swap) == (missing, "Either SourceEnvironmentId or SourceEnvironmentName must be specified.")
    words = "Either DestinationEnvironmentId or DestinationEnvironmentName must be specified."
    assert by(Source_Name="blue-env") == (missing, words)
    assert by(Source_Id=blue, Destination_Name="green-env")[0] == "InvalidParameterCombination"
    unknown = "No Environment found for EnvironmentName = 'nobody'."
    assert by(Source_Name="blue-env", Destination_Name="nobody") == ("InvalidParameterValue", unknown)
    assert by(Source_Id="e-nobody", Destination_Id=green)[0] == "InvalidParameterValue"
    itself = "Environment named blue-env cannot be swapped with itself."
    assert by(Source_Name="blue-env", Destination_Name="blue-env") == ("InvalidParameterValue", itself)
    assert by(Source_Id=blue, Destination_Id=blue) == ("InvalidParameterValue", itself)
    with site.control.database.write() as db:
        environments.update(db, green, tier="Worker")
    worker = "Environment named green-env is a worker: it has no CNAME to swap."
    assert by(Source_Id=blue, Destination_Id=green) == ("InvalidParameterValue", worker)
    assert by(Source_Id=green, Destination_Id=blue) == ("InvalidParameterValue", worker)
    with site.control.database.write() as db:
        environments.update(db, green, tier="WebServer")
    assert known(eb) == READY
    assert len(eb.describe_events()["Events"]) == events

    eb.update_environment(EnvironmentName="green-env", VersionLabel="v1")
    assert refused(swap, **NAMES) == ("InvalidParameterValue", not_ready("green-env").message)
    site.end_operations()
    swap(SourceEnvironmentId=blue, DestinationEnvironmentId=green, **NAMES)


def test_while_it_goes_on_servers_take_either_name(site: ApiSite, eb: Any, ids: tuple[str, str]) -> None:
    database = site.control.database
    blue, green = ids
    sites = scene_of(database, Listen("127.0.0.1", 8080, "localhost"), set()).sites
    assert sites[blue].also == sites[green].also == ()
    eb.swap_environment_cnames(**NAMES)
    sites = scene_of(database, Listen("127.0.0.1", 8080, "localhost"), set()).sites
    assert (sites[blue].names, sites[blue].also) == (("blue-env.localhost",), ("green-env.localhost",))
    assert (sites[green].names, sites[green].also) == (("green-env.localhost",), ("blue-env.localhost",))
    with database.read() as db:
        assert edges.listed(db)
        assert [each.kind for each in operations.listed(db, open_only=True)] == ["swap"]
