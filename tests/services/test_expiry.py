"""ScheduleTermination: the control plane ends an environment at the time that was said, and not before, nor busy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.reconcile.expiry import Expiry

MINUTE = 60


@pytest.fixture
def now() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def site(tmp_path: Path, now: list[float]) -> Iterator[ApiSite]:
    with api_site(tmp_path, session(), lambda: now[0]) as made:
        yield made


def status(site: ApiSite) -> str:
    found = site.client().describe_environments(EnvironmentNames=["shop-dev"])["Environments"]
    return str(found[0]["Status"])


def test_it_ends_when_its_time_has_come(site: ApiSite, now: list[float]) -> None:
    site.environment()
    own, expiry = site.client("beanpole"), Expiry(site.control)
    answer = own.schedule_termination(EnvironmentName="shop-dev", Seconds=30 * MINUTE)
    assert answer["TerminateAt"].timestamp() == now[0] + 30 * MINUTE
    told = site.client().describe_events(RequestId=answer["ResponseMetadata"]["RequestId"])["Events"]
    assert [each["Message"] for each in told] == [
        "The environment will be terminated by itself at 2027-01-15 08:30:00 UTC, unless it is swapped before."
    ]
    now[0] += 29 * MINUTE
    assert expiry.once() == []
    site.client().update_environment(EnvironmentName="shop-dev", VersionLabel="v1")
    now[0] += 2 * MINUTE
    assert (expiry.once(), status(site)) == ([], "Updating"), "somebody works with it"
    site.end_operations()
    assert (expiry.once(), status(site)) == (["shop-dev"], "Terminating")
    assert expiry.once() == []
    site.end_operations()
    assert status(site) == "Terminated"


def test_it_can_be_put_off_and_called_off(site: ApiSite, now: list[float]) -> None:
    identifier = site.environment()
    own: Any = site.client("beanpole")
    own.schedule_termination(EnvironmentName="shop-dev", Seconds=MINUTE)
    own.schedule_termination(EnvironmentId=identifier, Seconds=3 * MINUTE)
    now[0] += 2 * MINUTE
    assert Expiry(site.control).once() == []
    assert "TerminateAt" not in own.schedule_termination(EnvironmentName="shop-dev")
    now[0] += 60 * MINUTE
    assert Expiry(site.control).once() == []
    (last, *_) = site.client().describe_events(EnvironmentName="shop-dev")["Events"]
    assert last["Message"] == "The environment is no longer to be terminated by itself."
    assert refused(own.schedule_termination, EnvironmentName="nobody", Seconds=1)[0] == "InvalidParameterValue"
    assert refused(own.schedule_termination, Seconds=1)[0] == "MissingParameter"
    site.client().terminate_environment(EnvironmentName="shop-dev")
    code, words = refused(own.schedule_termination, EnvironmentName="shop-dev", Seconds=1)
    assert (code, "is being terminated already" in words) == ("InvalidParameterValue", True)
