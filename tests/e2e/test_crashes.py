"""kill -9 of the control plane at every journal entry of a deployment and of its return: always one release everywhere.

The number of entries is counted in a run without a crash; then each one gets its turn, right before and right after it
is committed. The turns are dealt to shards, so that they run beside each other.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

import pytest
from beanpole_site import Site, app, wait_for
from botocore.exceptions import HTTPClientError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHARDS = 4
"""Groups in which the turns run; each has a control plane of its own."""

ROLLING = (
    ("aws:elasticbeanstalk:command", "DeploymentPolicy", "Rolling"),
    ("aws:elasticbeanstalk:command", "BatchSizeType", "Fixed"),
    ("aws:elasticbeanstalk:command", "BatchSize", "1"),
    ("beanpole:deployment", "GateChecks", "1"),
    ("beanpole:deployment", "GateInterval", "0.1"),
    ("beanpole:deployment", "StartTimeout", "10"),
)

BROKEN = {"server.py": "import a_module_that_no_requirement_gives\n"}


def entries(site: Site, request_id: str) -> int:
    """How many journal entries an operation wrote."""
    with contextlib.closing(sqlite3.connect(site.home.database)) as db:
        query = "SELECT count(*) FROM journal JOIN operation ON operation.id = operation_id WHERE request_id = ?"
        return int(db.execute(query, (request_id,)).fetchone()[0])


def turns(total: int, shard: int) -> list[int]:
    every = [sign * number for number in range(1, total + 1) for sign in (1, -1)]
    return every[shard::SHARDS]


def crash_in(site: Site, turn: int, label: str, files: dict[str, str]) -> dict[str, object]:
    """Deploy under a control plane that dies at its `turn`th entry; the operation after another one took over."""
    site.version("shop", label, files)
    site.stop()
    site.start(crash_at=turn)
    with contextlib.suppress(ConnectionError, HTTPClientError):
        site.begin(label)  # the answer may die with the control plane; the operation does not
    wait_for(f"planned crash at entry {turn}", site.dead)
    site.start()
    newest = site.client("beanpole").describe_operations(EnvironmentName="shop-dev", MaxRecords=1)["Operations"][0]
    return site.ended(request_id=newest["RequestId"])


def survives(site: Site, shard: int, label: str, files: Callable[[str], dict[str, str]], outcome: str) -> None:
    site.create(app("probe", "v1"), instances=2, settings=ROLLING)
    dry = site.deploy(label, files(label))
    assert dry["Outcome"] == outcome
    total = entries(site, str(dry["RequestId"]))
    assert total > 15, "the journal says less than a deployment does"
    for turn in turns(total, shard):
        name = f"{label}-{'after' if turn > 0 else 'before'}-{abs(turn)}"
        before = site.serving()
        operation = crash_in(site, turn, name, files(name))
        assert operation["Outcome"] == outcome, (name, operation["Error"], site.log())
        expected = {name} if outcome == "succeeded" else before
        assert site.serving() == expected, f"{name}: more than one release serves, or the wrong one"
        environment = site.environment()
        assert environment["Status"] == "Ready"
        assert environment["VersionLabel"] == ("v1" if outcome == "failed" else name)
        told = site.events(RequestId=str(operation["RequestId"]))
        closing = "Environment update completed successfully." if outcome == "succeeded" else "Failed to deploy application."
        assert told[-1] == closing
        assert len(told) == len(set(told)), f"{name}: an event was told twice: {told}"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_rolling_deployment_survives_the_death_of_its_control_plane_at_every_entry(site: Site, shard: int) -> None:
    survives(site, shard, "v2", lambda label: app("probe", label), "succeeded")


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_return_from_a_broken_version_survives_it_too(site: Site, shard: int) -> None:
    survives(site, shard, "bad", lambda label: app("probe", label, **BROKEN), "failed")
