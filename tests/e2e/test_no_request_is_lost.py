"""200 requests a second, idle keep-alive connections, a websocket, and 30 s requests, over everything that may happen.

One environment of three instances and one load for all chapters, so that nothing between two chapters goes uncounted.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

SETTINGS = (
    ("aws:elasticbeanstalk:command", "BatchSizeType", "Fixed"),
    ("aws:elasticbeanstalk:command", "BatchSize", "1"),
    ("beanpole:deployment", "StartTimeout", "10"),
)
ROLLING = (("aws:elasticbeanstalk:command", "DeploymentPolicy", "Rolling"),)
AT_ONCE = (("aws:elasticbeanstalk:command", "DeploymentPolicy", "AllAtOnce"),)

DRAIN = ("aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay")
PATIENT = ((*DRAIN, "32"),)  # for requests of 30 s; a websocket holds each drain until its deadline
BRISK = ((*DRAIN, "3"),)

MIXED = {"path": "/version", "idle": 10, "websocket": "/ws"}
LONG = {"path": "/slow?s=30", "rate": 1, "slow_every": 0, "timeout": 40, "keep_alive": 0.5}


@pytest.fixture
def shop(site: Site) -> Iterator[Site]:
    created = site.create(app("probe", "v1"), instances=3, settings=SETTINGS)
    assert created["Outcome"] == "succeeded", (created["Error"], site.log())
    yield site


def lost(report: dict[str, Any]) -> str:
    return f"{report['failed']} of {report['sent']}: {report['kinds']} {report['failures'][:5]}"


def failed(report: dict[str, Any]) -> list[str]:
    """Kinds of failure. A websocket that is told to go (1001) when the drain deadline is over is none."""
    return [kind for kind in report["kinds"] if kind != "websocket: closed with code 1001"]


def agents(site: Site) -> list[int]:
    """Pids of the instances' agents."""
    found = []
    for pid in site.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"instance" in words and b"run" in words:
            found.append(pid)
    return found


def test_nothing_is_lost_whatever_happens_to_three_instances(shop: Site) -> None:
    with shop.load(**MIXED) as mixed:
        assert shop.deploy("v2", app("probe", "v2"), settings=(*ROLLING, *BRISK))["Outcome"] == "succeeded"
        assert shop.serving() == {"v2"}
        assert shop.deploy("v3", app("probe", "v3"), settings=AT_ONCE)["Outcome"] == "succeeded"
        assert shop.serving() == {"v3"}

        files = app("probe", "bad", **{"server.py": "import nothing_like_this\n"})
        broken = shop.deploy("bad", files, settings=ROLLING)
        assert broken["Outcome"] == "failed"
        assert shop.serving() == {"v3"}

        assert shop.deploy("v4", app("probe", "v4"))["Outcome"] == "succeeded"
        back = shop.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
        assert shop.ended(request_id=back["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
        assert shop.serving() == {"v3"}

        sizes = (("aws:autoscaling:asg", "MinSize", "2"), ("aws:autoscaling:asg", "MaxSize", "2"))
        assert shop.deploy("v3", settings=sizes)["Outcome"] == "succeeded"
        left = shop.client().describe_environment_resources(EnvironmentName="shop-dev")["EnvironmentResources"]
        assert len(left["Instances"]) == 2

        shop.kill()
        shop.start()
        shop.client().describe_environments()

        before = agents(shop)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for("agents that were killed to be back", lambda: len(set(agents(shop)) - set(before)) == 2)

        status, answer = shop.get("/pid")
        assert status == 200
        os.kill(json.loads(answer)["pid"], signal.SIGKILL)
        wait_for("event of the restart", lambda: any("web" in words for words in shop.events(Severity="WARN")), 60)
    report = mixed.report
    assert not failed(report), lost(report)
    assert report["echoes"] > 100
    assert set(report["versions"]) == {"v1", "v2", "v3", "v4"}, "a version that cannot start got a request"


@pytest.mark.long
def test_requests_of_half_a_minute_are_waited_for(shop: Site) -> None:
    with shop.load(**MIXED) as mixed, shop.load(**LONG) as long:
        assert shop.deploy("v2", app("probe", "v2"), settings=(*ROLLING, *PATIENT))["Outcome"] == "succeeded"
        assert shop.serving() == {"v2"}
        assert shop.deploy("v3", app("probe", "v3"), settings=AT_ONCE)["Outcome"] == "succeeded"
        assert shop.serving() == {"v3"}
    assert long.report["failed"] == 0, lost(long.report)
    assert long.report["sent"] > 10
    assert not failed(mixed.report), lost(mixed.report)


def test_a_single_instance_is_deployed_to_without_a_gap(site: Site) -> None:
    site.create(app("probe", "v1"), settings=(*SETTINGS, *BRISK))
    with site.load(**MIXED) as run:
        assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
        broken = site.deploy("bad", app("probe", "bad", **{"server.py": "raise SystemExit(3)\n"}))
        assert broken["Outcome"] == "failed"
    assert not failed(run.report), lost(run.report)
    assert site.serving() == {"v2"}


def test_a_killed_envoy_is_back_in_a_moment_and_its_gap_is_told(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2)
    envoys = envoys_of(site)
    assert len(envoys) == 1
    with site.load(path="/version") as run:
        os.kill(envoys[0], signal.SIGKILL)
        wait_for("answers again", lambda: _answers(site))
        wait_for("another Envoy", lambda: envoys_of(site) != envoys)
    gap = [failure["at"] for failure in run.report["failures"]]
    assert run.report["answered"] > 0
    assert not gap or max(gap) - min(gap) < 5.0, lost(run.report)


def envoys_of(site: Site) -> list[int]:
    return [pid for pid in site.processes() if "envoy" in str(Path(f"/proc/{pid}/exe").readlink())]


def _answers(site: Site) -> bool:
    try:
        return site.get()[0] == 200
    except OSError:
        return False
