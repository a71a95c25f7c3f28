"""kill -9 of the control plane at every journal entry of a deployment and of its return: always one release everywhere.

The number of entries is counted in a run without a crash; then each one gets its turn, right after it is committed and
right before. The turns are dealt to shards, so that they run beside each other; most of these are long tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from beanpole_site import Site, app, wait_for
from botocore.exceptions import BotoCoreError

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

MOMENTS = pytest.mark.parametrize("moment", ["after", pytest.param("before", marks=pytest.mark.long)])

CLOSING = {
    "succeeded": "Environment update completed successfully.",
    "failed": "Failed to deploy application.",
}

SECOND_FAILS = """container_commands:
  01_only_the_first:
    command: mkdir "$MARKS/{label}"
"""
"""Works on the first instance and fails on the second, when the first one serves the new release already."""


def entries(site: Site, request_id: str) -> list[str]:
    """The keys of the journal entries that an operation wrote, in order."""
    query = (
        "SELECT key FROM journal JOIN operation ON operation.id = operation_id "
        "WHERE request_id = :request ORDER BY journal.id"
    )
    return [key for (key,) in site.ask(query, request=request_id)]


def turns(keys: list[str], moment: str, shard: int) -> list[int]:
    """After every entry; or before those that record work, which is then done and not written down."""
    if moment == "after":
        return list(range(1, len(keys) + 1))[shard::SHARDS]
    before = [-number for number, key in enumerate(keys, 1) if not key.endswith(("/begin", "/bind", "requests/end"))]
    return before[shard::SHARDS]


def crash_in(site: Site, label: str, following: int | None) -> dict[str, object]:
    """Deploy under a control plane that dies on the way; the operation after the next one took over.

    `following`: the entry at which that next one will die, when it is armed.
    """
    site.arm()
    with contextlib.suppress(BotoCoreError):
        site.begin(label)  # the answer may die with the control plane; the operation does not
    wait_for("planned crash", site.dead)
    site.start(crash_at=following)
    newest = site.client("beanpole").describe_operations(EnvironmentName="shop-dev", MaxRecords=1)["Operations"][0]
    return site.ended(request_id=newest["RequestId"])


def survives(
    site: Site, moment: str, shard: int, label: str, files: Callable[[str], dict[str, str]], outcome: str
) -> None:
    marks = site.root / "marks"
    marks.mkdir()
    properties = (("aws:elasticbeanstalk:application:environment", "MARKS", str(marks)),)
    site.create(app("probe", "v1"), instances=2, settings=(*ROLLING, *properties))
    dry = site.deploy(label, files(label))
    assert dry["Outcome"] == outcome
    keys = entries(site, str(dry["RequestId"]))
    assert len(keys) > 20, "the journal says less than a deployment does"
    mine = turns(keys, moment, shard)
    site.stop()
    site.start(crash_at=mine[0])
    for turn, following in zip(mine, [*mine[1:], None], strict=True):
        name = f"{label}-{'after' if turn > 0 else 'before'}-{abs(turn)}"
        before = site.serving()
        site.version("shop", name, files(name))
        operation = crash_in(site, name, following)
        assert operation["Outcome"] == outcome, (name, operation["Error"], site.log())
        expected = {name} if outcome == "succeeded" else before
        assert site.serving() == expected, f"{name}: more than one release serves, or the wrong one"
        environment = site.environment()
        assert environment["Status"] == "Ready"
        assert environment["VersionLabel"] == ("v1" if outcome == "failed" else name)
        told = site.events(RequestId=str(operation["RequestId"]))
        assert told[-1] == CLOSING[outcome]
        assert len(told) == len(set(told)), f"{name}: an event was told twice: {told}"


@MOMENTS
@pytest.mark.parametrize("shard", [0, *(pytest.param(each, marks=pytest.mark.long) for each in range(1, SHARDS))])
def test_a_rolling_deployment_survives_the_death_of_its_control_plane_at_every_entry(
    site: Site, moment: str, shard: int
) -> None:
    survives(site, moment, shard, "v2", lambda label: app("probe", label), "succeeded")


@pytest.mark.long
@pytest.mark.parametrize("moment", ["after", "before"])
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_return_from_a_version_that_fails_half_way_survives_it_too(site: Site, moment: str, shard: int) -> None:
    def files(label: str) -> dict[str, str]:
        return app("probe", label, **{".ebextensions/01.config": SECOND_FAILS.format(label=label)})

    survives(site, moment, shard, "bad", files, "failed")
