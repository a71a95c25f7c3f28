"""AbortEnvironmentUpdate in every state, and that each operation has an end beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.store import operations
from beanpole.store.operations import Draft
from beanpole.store.schema import operation

NOTHING = "Environment named shop-dev has no operation in progress that can be aborted."
REVERTING = "The update of environment shop-dev is being reverted already."
HOURS = 4 * 3600 * 1000
"""Milliseconds within which every operation ends, whatever hangs."""


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def environment(eb: Any) -> dict[str, Any]:
    return dict(eb.describe_environments(EnvironmentNames=["shop-dev"])["Environments"][0])


def is_refused(eb: Any, message: str, **named: str) -> None:
    """And nothing is said or changed by it."""
    before = [environment(eb), eb.describe_events()["Events"]]
    named = named or {"EnvironmentName": "shop-dev"}
    assert refused(eb.abort_environment_update, **named) == ("InvalidParameterValue", message)
    assert [environment(eb), eb.describe_events()["Events"]] == before


def test_only_what_goes_forward_is_aborted_and_only_once(site: ApiSite, eb: Any) -> None:
    identifier = site.environment()
    is_refused(eb, NOTHING)
    is_refused(eb, NOTHING, EnvironmentId=identifier)
    assert refused(eb.abort_environment_update)[0] == "MissingParameter"
    other = "No Environment found for EnvironmentName = 'other-dev'."
    is_refused(eb, other, EnvironmentName="other-dev", EnvironmentId=identifier)

    eb.update_environment(EnvironmentName="shop-dev", VersionLabel="v1")
    assert environment(eb)["AbortableOperationInProgress"] is True
    eb.abort_environment_update(EnvironmentId=identifier)
    assert (environment(eb)["Status"], environment(eb)["AbortableOperationInProgress"]) == ("Aborting", False)
    is_refused(eb, REVERTING)
    with site.control.database.write() as db:
        db.execute(operation.update().values(phase="return", abort=False).where(operation.c.kind == "update"))
    is_refused(eb, REVERTING)


def test_a_launch_is_aborted_and_a_termination_is_not(site: ApiSite, eb: Any) -> None:
    site.version("v1")
    new = {"ApplicationName": "shop", "VersionLabel": "v1", "SolutionStackName": site.stack}
    eb.create_environment(EnvironmentName="shop-dev", **new)
    eb.abort_environment_update(EnvironmentName="shop-dev")
    assert environment(eb)["Status"] == "Aborting"
    eb.terminate_environment(EnvironmentName="shop-dev")
    is_refused(eb, NOTHING)


def test_what_the_system_does_by_itself_is_nobodys_to_abort(site: ApiSite, eb: Any) -> None:
    identifier = site.environment()
    with site.control.database.write() as db:
        operations.submit(
            db,
            0,
            Draft(
                environment_id=identifier,
                kind="align",
                origin="system",
                actor="beanpole",
                request_id="S",
                release=1,
                previous=1,
                desired=None,
                plan='{"policy": "AllAtOnce", "steps": [], "schema": 1}',
                deadline_at=1,
            ),
        )
    is_refused(eb, NOTHING)
    with site.control.database.read() as db:
        assert [each.abort for each in operations.listed(db, open_only=True)] == [False]
    eb.update_environment(EnvironmentName="shop-dev", VersionLabel="v1")
    with site.control.database.read() as db:
        assert {each.kind: each.abort for each in operations.listed(db, open_only=True)} == {
            "align": True,
            "update": False,
        }


def test_every_kind_of_operation_has_an_end(site: ApiSite, eb: Any) -> None:
    site.environment()
    site.environment("shop-new", "v2")
    eb.update_environment(EnvironmentName="shop-dev", VersionLabel="v2")
    site.end_operations()
    site.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
    site.end_operations()
    eb.rebuild_environment(EnvironmentName="shop-dev")
    site.end_operations()
    eb.swap_environment_cnames(SourceEnvironmentName="shop-dev", DestinationEnvironmentName="shop-new")
    site.end_operations()
    identifier = environment(eb)["EnvironmentId"]
    eb.terminate_environment(EnvironmentName="shop-dev")
    site.end_operations()
    eb.rebuild_environment(EnvironmentId=identifier)
    with site.control.database.read() as db:
        found = operations.listed(db, limit=100)
    assert {each.kind for each in found} == {"create", "update", "rollback", "rebuild", "swap", "terminate"}
    spans = {each.kind: each.deadline_at - each.created_at for each in found}
    assert all(0 < span < HOURS for span in spans.values()), spans
    assert spans["swap"] <= 120_000, "two environments are busy for as long"
