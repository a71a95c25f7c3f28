"""Policies that launch new instances, under a counted load: by the unmodified eb, to the end and back."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for
from botocore.exceptions import ClientError
from eb_folder import UPDATED, EbFolder, running, whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

COMMAND = "aws:elasticbeanstalk:command"
CANARY = "beanpole:canary"
SETTINGS = (
    (COMMAND, "BatchSizeType", "Fixed"),
    (COMMAND, "BatchSize", "1"),
    ("aws:elasticbeanstalk:environment", "LoadBalancerType", "application"),
    ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "enhanced"),
    ("aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay", "5"),
    ("aws:elasticbeanstalk:trafficsplitting", "NewVersionPercent", "10"),
    ("beanpole:deployment", "StartTimeout", "20"),
    (CANARY, "PinCookie", "release=new"),
)
LOAD = {"path": "/version", "rate": 100.0, "idle": 5}

ANSWERS = '        if request.path == "/version":\n'
FAILS = ANSWERS + '            return 503, {"version": VERSION, "error": "this release is broken"}\n'
"""The line of the probe below which `/version` is answered, and what makes a release of it that is bad only there."""


@pytest.fixture
def shop(site: Site) -> Iterator[Site]:
    created = site.create(app("probe", "v1"), instances=2, settings=SETTINGS)
    assert created["Outcome"] == "succeeded", (created["Error"], site.log())
    yield site


def policy(name: str) -> tuple[tuple[str, str, str], ...]:
    return ((COMMAND, "DeploymentPolicy", name),)


def splitting(seconds: int) -> tuple[tuple[str, str, str], ...]:
    return (*policy("TrafficSplitting"), (CANARY, "EvaluationSeconds", str(seconds)))


def lossless(report: dict[str, Any]) -> None:
    assert report["failed"] == 0, f"{report['failed']} of {report['sent']}: {report['kinds']} {report['failures'][:5]}"
    assert report["sent"] > 100


def asked(site: Site, times: int, **headers: str) -> Counter[str]:
    """Which versions answer so many requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    found: Counter[str] = Counter()
    for _ in range(times):
        connection.request("GET", "/version", headers={"Host": "shop-dev.localhost", **headers})
        answer = connection.getresponse()
        found[json.loads(answer.read())["version"]] += 1
        assert answer.status == 200
    connection.close()
    return found


def watching(site: Site, request_id: str) -> None:
    def look() -> bool:
        found = site.operation(request_id)
        steps = {each["Kind"]: each["State"] for each in found["Steps"]} if found is not None else {}
        return steps.get("Watch") == "running"

    wait_for("evaluation", look, 120)


@pytest.mark.long
@pytest.mark.parametrize("name", ["RollingWithAdditionalBatch", "Immutable", "TrafficSplitting"])
def test_eb_deploys_by_each_policy_and_no_request_is_lost(shop: Site, tmp_path: Path, name: str) -> None:
    folder = EbFolder(shop, tmp_path / "shop", dict(app("probe", "v2")))
    folder.link()
    before = set(running(shop))
    shop.client().update_environment(
        EnvironmentName="shop-dev",
        OptionSettings=[
            {"Namespace": space, "OptionName": option, "Value": value}
            for space, option, value in (splitting(4) if name == "TrafficSplitting" else policy(name))
        ],
    )
    wait_for("new settings", lambda: shop.environment()["Status"] == "Ready")
    with shop.load(**LOAD) as run:
        deployed = folder.eb("deploy", "-l", "v2")
        assert whole(shop, deployed, EnvironmentName="shop-dev")[-1] == UPDATED
    lossless(run.report)
    assert shop.serving() == {"v2"}
    after = set(running(shop))
    assert len(after) == 2
    assert len(after & before) == (1 if name == "RollingWithAdditionalBatch" else 0)
    if name == "Immutable":
        assert any("Immutable deployment policy enabled." in words for words in deployed.messages)
        assert asked(shop, 20) == {"v2": 20}


@pytest.mark.long
@pytest.mark.parametrize("name", ["RollingWithAdditionalBatch", "Immutable", "TrafficSplitting"])
def test_a_version_that_cannot_start_leaves_everything_as_it_was(shop: Site, name: str) -> None:
    before = set(running(shop))
    with shop.load(**LOAD) as run:
        bad = app("probe", "bad", **{"server.py": "import nothing_like_this\n"})
        operation = shop.deploy("bad", bad, settings=policy(name))
        # Still under load: a deployment that fails may take less than a second.
        assert operation["Outcome"] == "failed"
        assert set(running(shop)) == before
        assert shop.serving() == {"v1"}
        assert shop.environment()["Status"] == "Ready"
        assert asked(shop, 200) == {"v1": 200}
    lossless(run.report)
    assert set(run.report["versions"]) == {"v1"}


def test_a_split_is_exact_testers_choose_and_a_promotion_ends_it(shop: Site) -> None:
    request = shop.begin("v2", app("probe", "v2"), settings=splitting(600))
    watching(shop, request)
    environment = shop.environment()
    assert (environment["Status"], environment["AbortableOperationInProgress"]) == ("Updating", True)
    found = asked(shop, 2000)
    print("split", found)
    # 200 are expected. Each of Envoy's workers keeps a round of its own, so that a connection sees every tenth exactly.
    assert 150 <= found["v2"] <= 250, found
    assert asked(shop, 20, **{"X-Beanpole-Canary": "1"}) == {"v2": 20}
    assert asked(shop, 20, Cookie="a=b; release=new") == {"v2": 20}
    assert asked(shop, 20, **{"X-Beanpole-Canary": "2"}).total() == 20
    with shop.load(**LOAD) as run:
        shop.client("beanpole").promote_environment(EnvironmentName="shop-dev")
        ended = shop.ended(request_id=request)
    lossless(run.report)
    assert ended["Outcome"] == "succeeded", ended["Error"]
    assert asked(shop, 50) == {"v2": 50}
    assert len(running(shop)) == 2
    with pytest.raises(ClientError, match="no new version that is being evaluated"):
        shop.client("beanpole").promote_environment(EnvironmentName="shop-dev")


@pytest.mark.long
def test_a_canary_that_fails_requests_is_found_out_and_removed(shop: Site) -> None:
    broken = app("probe", "v2")
    assert ANSWERS in broken["server.py"]
    broken["server.py"] = broken["server.py"].replace(ANSWERS, FAILS, 1)
    with shop.load(path="/version", rate=150.0) as run:
        ended = shop.deploy("v2", broken, settings=splitting(600))
    assert ended["Outcome"] == "failed"
    assert "requests to the new release failed" in ended["Error"]["Cause"]
    assert run.report["failed"] > 0
    share = run.report["failed"] / run.report["sent"]
    assert share < 0.1
    assert shop.serving() == {"v1"}
    assert len(running(shop)) == 2
    assert asked(shop, 50) == {"v1": 50}


@pytest.mark.long
def test_an_abort_in_the_evaluation_gives_all_requests_back(shop: Site) -> None:
    request = shop.begin("v2", app("probe", "v2"), settings=splitting(600))
    watching(shop, request)
    with shop.load(**LOAD) as run:
        shop.client().abort_environment_update(EnvironmentName="shop-dev")
        ended = shop.ended(request_id=request)
    lossless(run.report)
    assert ended["Outcome"] == "aborted"
    assert asked(shop, 50) == {"v1": 50}
    assert len(running(shop)) == 2


@pytest.mark.long
def test_an_evaluation_goes_on_after_the_control_plane_was_killed(shop: Site) -> None:
    request = shop.begin("v2", app("probe", "v2"), settings=splitting(8))
    watching(shop, request)
    with shop.load(**LOAD) as run:
        shop.kill()
        shop.start()
        ended = shop.ended(request_id=request)
    lossless(run.report)
    assert ended["Outcome"] == "succeeded", ended["Error"]
    assert shop.serving() == {"v2"}
    assert len(running(shop)) == 2
