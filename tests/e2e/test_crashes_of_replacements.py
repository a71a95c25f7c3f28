"""kill -9 of the control plane at every journal entry of a replacement, of its return, and of a restart.

As for deployments (test_crashes.py): the entries are counted in a run without a crash, then each one gets its turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from beanpole_site import Site, app, wait_for
from botocore.exceptions import BotoCoreError
from stories import BRISK, DEPLOYMENT, ONE_BY_ONE
from test_configuration_updates import LAUNCH, change, instances, rolling
from test_crashes import SHARDS, entries, turns
from test_restart import DONE, pids, restart

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

MOMENTS = pytest.mark.parametrize("moment", ["after", pytest.param("before", marks=pytest.mark.deep)])

BAD = 'container_commands:\n  01_only_the_first:\n    command: mkdir "$MARKS/{label}"\n'
PATIENT = ((DEPLOYMENT, "StartTimeout", "60"),)
FAILED, UPDATED = "Failed to deploy application.", "Environment update completed successfully."


def crashes(site: Site, moment: str, shard: int, begin: Callable[[str], str], look: Callable[[str, str], None]) -> None:
    """`begin` starts the operation under a new name; `look` is asked when it has ended, with its request."""
    site.create(app("probe", "v1"), instances=2, settings=(*BRISK, *PATIENT, *ONE_BY_ONE, *rolling("Health", 1)))
    dry = begin("dry")
    site.ended(request_id=dry)
    look("dry", dry)
    mine = turns(entries(site, dry), moment, shard)
    site.stop()
    site.start(crash_at=mine[0])
    for turn, following in zip(mine, [*mine[1:], None], strict=True):
        name = f"{moment}-{abs(turn)}"
        site.arm()
        with contextlib.suppress(BotoCoreError):
            begin(name)  # the answer may die with the control plane; the operation does not
        wait_for("planned crash", site.dead)
        site.start(crash_at=following)
        newest = site.client("beanpole").describe_operations(EnvironmentName="shop-dev", MaxRecords=1)["Operations"][0]
        told = site.ended(request_id=newest["RequestId"])
        look(name, str(told["RequestId"]))
        said = site.events(RequestId=str(told["RequestId"]))
        assert len(said) == len(set(said)), f"{name}: an event was told twice: {said}"


@MOMENTS
@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_replacement(site: Site, moment: str, shard: int) -> None:
    seen: set[str] = set()

    def look(name: str, request: str) -> None:
        told = site.events(RequestId=request)
        assert told[-1] == UPDATED, (name, told)
        now = instances(site)
        assert len(now) == 2, name
        assert not seen & set(now), f"{name}: an instance was not replaced"
        assert site.serving() == {"v1"}
        assert site.environment()["Status"] == "Ready"
        seen.update(now)

    crashes(site, moment, shard, lambda name: change(site, (LAUNCH, "InstanceType", name)), look)


@MOMENTS
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_return_from_a_replacement_whose_second_batch_fails(site: Site, moment: str, shard: int) -> None:
    marks = site.root / "marks"
    marks.mkdir()

    def begin(name: str) -> str:
        with contextlib.suppress(BotoCoreError):
            site.version("shop", name, app("probe", name, **{".ebextensions/01.config": BAD.format(label=name)}))
        property_ = ("aws:elasticbeanstalk:application:environment", "MARKS", str(marks))
        return change(site, (LAUNCH, "InstanceType", name), property_, version=name)

    def look(name: str, request: str) -> None:
        told = site.events(RequestId=request)
        assert told[-1] == FAILED, (name, told)
        assert len(instances(site)) == 2, name
        assert site.serving() == {"v1"}
        environment = site.environment()
        assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v1")

    crashes(site, moment, shard, begin, look)


@MOMENTS
@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_restart(site: Site, moment: str, shard: int) -> None:
    seen: set[int] = set()

    def look(name: str, request: str) -> None:
        told = site.events(RequestId=request)
        assert told[-2:] == DONE, (name, told)
        now = pids(site)
        assert len(now) == 2
        assert not seen & now, f"{name}: a process was not started anew"
        assert site.serving() == {"v1"}
        seen.update(now)

    crashes(site, moment, shard, lambda _: restart(site), look)
