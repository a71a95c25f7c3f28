"""The story on five real servers under 200 requests a second: nothing is lost, and all servers have one outcome."""

from __future__ import annotations

import pytest
from beanpole_site import app
from bed import Server
from servers_site import AT_ONCE, ServersSite, counted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_deploy_break_return_and_scale_lose_nothing(fleet: ServersSite, servers: list[Server]) -> None:
    fleet.add(servers)
    fleet.shop(5)
    assert set(fleet.answers().values()) == {"v1"}
    with counted(fleet):
        assert fleet.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
        assert set(fleet.answers().values()) == {"v2"}

        assert fleet.deploy("v3", app("probe", "v3"), settings=AT_ONCE)["Outcome"] == "succeeded"
        assert set(fleet.answers().values()) == {"v3"}

        broken = fleet.deploy("bad", app("probe", "bad", **{"server.py": "import nothing_like_this\n"}))
        assert broken["Outcome"] == "failed"
        assert "nothing_like_this" in str(broken["Error"])
        assert set(fleet.answers().values()) == {"v3"}

        assert fleet.rollback()["Outcome"] == "succeeded"
        assert set(fleet.answers().values()) == {"v2"}

        assert fleet.scale(3)["Outcome"] == "succeeded"
        assert sorted(fleet.answers().values()).count("v2") == 3
        assert fleet.scale(5)["Outcome"] == "succeeded"
        assert set(fleet.answers().values()) == {"v2"}
    assert fleet.environment()["Status"] == "Ready"
