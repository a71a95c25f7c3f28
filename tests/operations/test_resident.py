"""How much memory one more instance takes: what the present ones do, where they tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from engine_site import NEW, OLD, EngineSite, blame, launch

from beanpole.control import locations
from beanpole.fleet.agent_client import AgentUnreachable

MB = 2**20


def process(release: str, name: str, megabytes: int, pid: int | None = 1) -> dict[str, Any]:
    return {"release": release, "name": name, "pid": pid, "rss": megabytes * MB}


@pytest.mark.parametrize(("available", "outcome"), [(631, "failed"), (632, "succeeded")])
def test_new_instances_take_what_the_release_in_force_takes(site: EngineSite, available: int, outcome: str) -> None:
    async def state(instance: str) -> dict[str, Any]:
        if instance == "i-1":
            raise AgentUnreachable("gone")
        running = [process(OLD, "web", 200), process(OLD, "worker", 100), process(NEW, "web", 900)]
        return {"processes": [*running, process(OLD, "mailer", 900, pid=None)]}

    site.fleet.state = state  # type: ignore[method-assign]
    site.fleet.memory = available * MB
    done = site.carry_out(site.submit(launch("new-1", "new-2")))
    assert done.outcome == outcome
    if outcome == "failed":
        assert blame(done)["cause"] == (
            "2 more instances need at least 632 MB of memory and this machine has 631 MB available"
        )
        assert site.fleet.launched == []


@pytest.mark.parametrize(("resident", "room"), [(0, 20), (10, 20), (84, 10), (2000, 0)])
def test_the_room_of_this_machine(monkeypatch: pytest.MonkeyPatch, resident: int, room: int) -> None:
    monkeypatch.setattr(locations, "memory_available", lambda: 1000 * MB)
    settings: Any = SimpleNamespace(text=lambda *_: "local")
    nowhere: Any = None
    assert locations.room(nowhere, "e-1", settings, resident * MB) == room
