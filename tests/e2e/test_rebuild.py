"""Rebuilding under load, and having a terminated environment back with the EB CLI: in success and in failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from beanpole_site import Site, app, wait_for
from eb_folder import EbFolder, running, whole
from stories import BRISK, UPDATED, lost, properties

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BREAKS = {"Procfile": "web: sh -c '[ ! -e \"$BREAK\" ] && exec python server.py'\n"}
"""Does not start while the file BREAK is there."""

LAUNCHED = "Successfully launched environment: shop-dev"
NOT_LAUNCHED = "Failed to launch environment."
NOT_REBUILT = "Update environment operation is complete, but with errors. The environment could not be rebuilt."


@pytest.fixture
def shop(site: Site) -> Site:
    settings = (*BRISK, *properties(BREAK=site.root / "break", GREETING="hello"))
    assert site.create(app("probe", "v1", **BREAKS), instances=2, settings=settings)["Outcome"] == "succeeded"
    return site


def rebuilt(site: Site, outcome: str) -> list[str]:
    """Rebuild and wait for the end; the events of the call."""
    answer = site.client().rebuild_environment(EnvironmentName="shop-dev")
    request = answer["ResponseMetadata"]["RequestId"]
    ended = site.ended(request_id=request)
    assert ended["Outcome"] == outcome, (ended["Error"], site.log())
    return site.events(RequestId=request)


@pytest.mark.long
def test_all_instances_are_others_and_no_request_is_lost(shop: Site) -> None:
    before = running(shop)
    with shop.load(path="/version", idle=5) as load:
        assert rebuilt(shop, "succeeded")[-1] == UPDATED
        after = running(shop)
        (shop.root / "break").touch()
        told = rebuilt(shop, "failed")
        assert told[-1] == NOT_REBUILT
    assert load.report["failed"] == 0, lost(load.report)
    assert len(after) == 2
    assert not set(after) & set(before)
    assert running(shop) == after, "one that failed leaves the instances that serve"
    assert shop.serving() == {"v1"}
    assert shop.environment()["Status"] == "Ready"
    assert set(load.report["versions"]) == {"v1"}


@pytest.mark.long
@pytest.mark.parametrize("entry", [6, 14, 22, 26, 30])
def test_a_control_plane_that_dies_in_the_middle_of_a_rebuild(shop: Site, entry: int) -> None:
    before = running(shop)
    shop.stop()
    shop.start(crash_at=entry)
    shop.arm()
    with shop.load(path="/version") as load:
        shop.client().rebuild_environment(EnvironmentName="shop-dev")
        wait_for("the planned crash", shop.dead)
        shop.start()
        newest = shop.client("beanpole").describe_operations(EnvironmentName="shop-dev", MaxRecords=1)["Operations"][0]
        assert shop.ended(request_id=newest["RequestId"])["Outcome"] == "succeeded"
    assert load.report["failed"] == 0, lost(load.report)
    after = running(shop)
    assert (len(after), set(after) & set(before)) == (2, set())


@pytest.mark.long
def test_eb_restores_what_was_terminated(shop: Site, tmp_path: Path) -> None:
    folder = EbFolder(shop, tmp_path / "shop", app("probe", "v1"))
    folder.link()
    identifier = shop.environment()["EnvironmentId"]
    assert 'must be "Terminated" to restore' in folder.eb("restore", identifier, expected=4).text
    terminate(shop)
    restored = folder.eb("restore", identifier)
    assert whole(shop, restored, EnvironmentName="shop-dev")[-1] == LAUNCHED
    back = shop.environment()
    assert (back["EnvironmentId"], back["VersionLabel"], back["Status"]) == (identifier, "v1", "Ready")
    assert '"v1"' in shop.get()[1]
    assert len(running(shop)) == 2


@pytest.mark.long
def test_a_restore_that_fails_or_is_refused_ends_its_wait(shop: Site, tmp_path: Path) -> None:
    folder = EbFolder(shop, tmp_path / "shop", app("probe", "v1"))
    folder.link()
    identifier = shop.environment()["EnvironmentId"]
    terminate(shop)
    (shop.root / "break").touch()
    failed = folder.eb("restore", identifier, expected=4)
    assert whole(shop, failed, EnvironmentName="shop-dev")[-1] == NOT_LAUNCHED
    assert shop.environment()["Status"] == "Ready"
    (shop.root / "break").unlink()
    answer = shop.client().rebuild_environment(EnvironmentId=identifier)
    assert shop.ended(request_id=answer["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded", (
        "what never passed can be rebuilt"
    )
    assert '"v1"' in shop.get()[1]
    assert len(running(shop)) == 2
    terminate(shop)
    shop.client().delete_application_version(ApplicationName="shop", VersionLabel="v1")
    refused = folder.eb("restore", identifier, expected=4)
    assert "No Application Version named 'v1' found." in refused.text


def terminate(site: Site) -> None:
    answer = site.client().terminate_environment(EnvironmentName="shop-dev")
    site.ended(request_id=answer["ResponseMetadata"]["RequestId"])
