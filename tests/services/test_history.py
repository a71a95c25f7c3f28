"""The deployment log as the API tells it, of operations that ended in each of the ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.operations.blame import Aborted, Blame, StepFailed, aborted
from beanpole.operations.closing import Closing
from beanpole.store import operations
from beanpole.store.operations import holding, record

PROPERTY = "aws:elasticbeanstalk:application:environment"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ApiSite]:
    with api_site(tmp_path, session()) as made:
        yield made


def history(site: ApiSite, **wanted: Any) -> list[dict[str, Any]]:
    return site.client("beanpole").describe_history(**wanted)["Entries"]  # type: ignore[no-any-return]


def end(site: ApiSite, ended: Any = None) -> None:
    """The open operation succeeds, or ends so and has been returned from; 900 requests meanwhile, 1 of them failed."""
    control = site.control
    layers = {
        "layer-1": (("flask", "3"), ("tensorflow", "2.14.0")),
        "layer-2": (("flask", "3"), ("tensorflow", "2.15.0")),
    }
    parts: Any = SimpleNamespace(
        database=control.database,
        registry=control.registry,
        balancers=control.balancers,
        layers=SimpleNamespace(packages=layers.get),
    )
    closing = Closing(parts)
    held = operations.claim(control.database, "test", 60_000)
    assert held is not None
    with holding(control.database, held) as db:
        record(db, held, 0, "requests/begin", {"requests": 100, "failed": 0})
        record(db, held, 0, "requests/end", {"requests": 1000, "failed": 1})
    if ended is None:
        assert asyncio.run(closing.succeeded(held))
    else:
        asyncio.run(closing.returned(asyncio.run(closing.turn(held, ended))))


@pytest.fixture
def told(site: ApiSite) -> list[dict[str, Any]]:
    """Created, deployed, failed, aborted; newest first."""
    made = iter(["layer-1", "layer-2", "layer-2", "layer-2"])
    site.control.layers.key = lambda *_: next(made)  # type: ignore[method-assign]
    site.version("v1")
    site.client().create_environment(
        ApplicationName="shop", EnvironmentName="shop-dev", VersionLabel="v1", SolutionStackName=site.stack
    )
    end(site)
    site.version("v2")
    secret = {"Namespace": PROPERTY, "OptionName": "DATABASE_URL", "Value": "postgres://me:geheim@db"}
    site.client().update_environment(EnvironmentName="shop-dev", VersionLabel="v2", OptionSettings=[secret])
    end(site)
    site.version("v3")
    site.client().update_environment(EnvironmentName="shop-dev", VersionLabel="v3")
    end(site, StepFailed(Blame(stage="start", cause="web ended", instance="i-1", remedy="Add it.", last_lines=("a",))))
    site.client().update_environment(EnvironmentName="shop-dev", VersionLabel="v3")
    end(site, Aborted(aborted()))
    return history(site, EnvironmentName="shop-dev")


def test_who_did_what_and_how_it_ended(told: list[dict[str, Any]]) -> None:
    assert [(each["Number"], each["Kind"], each["Outcome"]) for each in told] == [
        (4, "update", "aborted"),
        (3, "update", "failed"),
        (2, "update", "succeeded"),
        (1, "create", "succeeded"),
    ]
    deployed = told[2]
    assert (deployed["PreviousVersionLabel"], deployed["VersionLabel"]) == ("v1", "v2")
    assert (deployed["Origin"], deployed["Policy"]) == ("user", "AllAtOnce")
    assert deployed["Actor"]
    assert deployed["Requests"] == {"Served": 900, "Failed": 1}
    assert deployed["Dependencies"] == [{"What": "tensorflow", "From": "2.14.0", "To": "2.15.0"}]
    assert {"What": f"{PROPERTY} DATABASE_URL", "From": "(none)", "To": "(set)"} in deployed["Changes"]
    assert told[1]["Cause"] == "[Instance: i-1] start failed: web ended. Add it."
    assert told[1]["LastLines"] == ["a"]
    assert told[0]["Cause"] == "Update failed: it was aborted by request."
    assert "geheim" not in str(told)


def test_it_outlives_journal_and_plan(site: ApiSite, told: list[dict[str, Any]]) -> None:
    database = site.control.database
    operations.prune(database, database.now_ms() + 1, 0)
    with database.read() as db:
        assert [operations.journal_of(db, each["Number"]) for each in told] == [{}] * 4
    assert history(site, EnvironmentName="shop-dev") == told
    assert len(site.client("beanpole").describe_operations(EnvironmentName="shop-dev")["Operations"]) == 4
    operations.prune(database, 0, database.now_ms() + 1)
    assert history(site, EnvironmentName="shop-dev") == told, "only what ended before both is forgotten"
    operations.prune(database, database.now_ms() + 1, database.now_ms() + 1)
    assert history(site, EnvironmentName="shop-dev") == []


def test_it_can_be_asked_for_by_number_and_after_the_environment_is_gone(
    site: ApiSite, told: list[dict[str, Any]]
) -> None:
    assert history(site, Number=3) == [told[1]]
    assert history(site, EnvironmentName="shop-dev", MaxRecords=1) == told[:1]
    site.client().terminate_environment(EnvironmentName="shop-dev")
    end(site)
    gone = history(site, EnvironmentName="shop-dev")
    assert (gone[0]["Kind"], gone[0]["Outcome"]) == ("terminate", "succeeded")
    assert gone[1:] == told
    beanpole = site.client("beanpole")
    assert refused(beanpole.describe_history, Number=99)[1] == "The history has no number 99."
    assert refused(beanpole.describe_history, EnvironmentName="nobody")[0] == "InvalidParameterValue"
