"""Stopping the control plane stops nothing else; ending everything leaves nothing; the next start finds it all."""

from __future__ import annotations

import pytest
from beanpole_site import Site, app, wait_for

from beanpole import server

pytestmark = [pytest.mark.slow]


def test_a_stopped_control_plane_leaves_applications_serving_and_the_next_one_adopts_them(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2)
    before = set(site.processes())
    site.stop()
    assert site.get()[0] == 200
    site.start()
    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    assert site.serving() == {"v2"}
    kept = {pid for pid in before if pid in site.processes()}
    assert len(kept) >= 4, "agents and Envoy should be the same processes as before"


@pytest.mark.long
def test_after_the_end_of_everything_nothing_runs_and_the_next_start_brings_it_back(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2)
    site.deploy("v2", app("probe", "v2"))
    site.stop()
    ended = server.end_everything(site.home)
    assert len(ended) == 3
    assert site.processes() == []
    left = [path for path in site.home.root.rglob("*") if path.is_socket() or path.name in ("lock", "agent.lock")]
    assert left == []

    site.start()
    wait_for("the environment to serve again", lambda: _serves(site, "v2"), 30)
    assert site.deploy("v3", app("probe", "v3"))["Outcome"] == "succeeded"
    assert site.serving() == {"v3"}


def _serves(site: Site, version: str) -> bool:
    try:
        status, body = site.get()
    except OSError:
        return False
    return status == 200 and version in body
