"""A swap under load: what users of both names get, by the second, and what the EB CLI sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for
from eb_folder import EbFolder, whole
from stories import BRISK, lost

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BLUE, GREEN = "shop-dev", "shop-new"
SWAPPED = f"Completed swapping CNAMEs for environments '{BLUE}' and '{GREEN}'."

ROUNDS = 3
"""Swaps that are measured. The machine that tests have may stop for a moment by itself, but not in each of them."""

VISIBLE = 0.1
"""Seconds in which a swap is seen by all clients."""


def both(site: Site) -> None:
    for name, label in ((BLUE, "v1"), (GREEN, "v2")):
        assert site.create(app("probe", label), name=name, label=label, settings=BRISK)["Outcome"] == "succeeded"


def swapped(site: Site) -> list[str]:
    """Swap and wait for its end; the events of the call."""
    answer = site.client().swap_environment_cnames(SourceEnvironmentName=BLUE, DestinationEnvironmentName=GREEN)
    request = answer["ResponseMetadata"]["RequestId"]
    assert site.ended(request_id=request)["Outcome"] == "succeeded", site.log()
    return site.events(RequestId=request)


def mixed(report: dict[str, Any]) -> float:
    """Seconds from the first answer of the version after the swap to the last one of the version before."""
    old, new = sorted(report["versions"].values(), key=lambda seen: float(seen["first"]))
    return float(old["last"]) - float(new["first"])


def test_eb_swaps_and_swaps_back_without_losing_a_request(site: Site, tmp_path: Path) -> None:
    both(site)
    folder = EbFolder(site, tmp_path / "shop", app("probe", "v1"))
    folder.init()
    with site.load(path="/version") as blue, site.load(path="/version", host=f"{GREEN}.localhost") as green:
        messages = whole(site, folder.eb("swap", BLUE, "--destination_name", GREEN), EnvironmentName=BLUE)
        assert messages[-1] == SWAPPED
    for run, before, after in ((blue, "v1", "v2"), (green, "v2", "v1")):
        assert run.report["failed"] == 0, lost(run.report)
        assert set(run.report["versions"]) == {before, after}
        assert run.report["versions"][before]["first"] < run.report["versions"][after]["first"]
    assert site.environment(BLUE)["CNAME"] == f"{GREEN}.localhost:{site.port}"
    assert (site.get()[1], site.get(host=f"{GREEN}.localhost")[1]) != ("", "")
    swapped(site)
    assert site.environment(BLUE)["CNAME"] == f"{BLUE}.localhost:{site.port}"
    assert '"v1"' in site.get()[1]


@pytest.mark.long
def test_all_clients_see_it_within_a_moment(site: Site) -> None:
    both(site)
    spans = []
    for _ in range(ROUNDS):
        green_load = site.load(path="/version", host=f"{GREEN}.localhost")
        with site.load(path="/version", idle=10, websocket="/ws") as blue, green_load as green:
            swapped(site)
        for run in (blue, green):
            assert run.report["failed"] == 0, lost(run.report)
        spans.append(max(mixed(blue.report), mixed(green.report)))
    print(f"both versions answered for {spans} s")
    assert min(spans) <= VISIBLE, spans


@pytest.mark.long
@pytest.mark.parametrize("entry", [-4, -3, -2, -1, 1, 2, 3, 4])
def test_a_control_plane_that_dies_in_the_middle(site: Site, entry: int) -> None:
    """At each entry of the journal (negative: right before it): requests/begin, swap begin, the names, the slot."""
    both(site)
    site.stop()
    site.start(crash_at=entry)
    site.arm()
    with site.load(path="/version") as blue, site.load(path="/version", host=f"{GREEN}.localhost") as green:
        request = begun(site)
        wait_for("the planned crash", site.dead)
        site.start()
        found = site.client("beanpole").describe_operations(EnvironmentName=BLUE, MaxRecords=1)["Operations"][0]
        assert request in (None, found["RequestId"])
        assert site.ended(request_id=found["RequestId"])["Outcome"] == "succeeded"
    for run in (blue, green):
        assert run.report["failed"] == 0, lost(run.report)
    assert {site.environment(name)["Status"] for name in (BLUE, GREEN)} == {"Ready"}
    assert site.environment(BLUE)["CNAME"] == f"{GREEN}.localhost:{site.port}"
    assert '"v2"' in site.get()[1]
    told = site.events(RequestId=found["RequestId"])
    assert told.count(SWAPPED) == 1
    assert len(told) == len(set(told)) == 5


def begun(site: Site) -> str | None:
    from botocore.exceptions import BotoCoreError

    try:
        answer = site.client().swap_environment_cnames(SourceEnvironmentName=BLUE, DestinationEnvironmentName=GREEN)
    except BotoCoreError:
        return None  # the answer died with the control plane
    return str(answer["ResponseMetadata"]["RequestId"])
