"""An instance is looked for where its row says that it lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from beanpole.fleet.agent_client import AgentClient, AgentUnreachable
from beanpole.fleet.fleet import Fleet
from beanpole.store import environments, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Instance


def known(tmp_path: Path) -> Database:
    """i-1 lives here, i-2 on a server."""
    database = Database.at(tmp_path / "beanpole.db")
    with database.write() as db:
        environments.add(
            db, Environment("e-1", "shop", "a", None, None, "WebServer", "p", "Ready", "Ok", "[]", 1, "v", 1, 0, 0)
        )
        instances.add(db, Instance("i-1", "e-1", "running", "127.0.0.2", None, 0))
        instances.add(db, Instance("i-2", "e-1", "running", "127.0.0.3", None, 0, host="h-1"))
    return database


def test_the_row_says_where_an_instance_lives(tmp_path: Path) -> None:
    fleet = Fleet(known(tmp_path), cast(Any, "here"), cast(Any, "there"))
    assert (fleet.place("i-1"), fleet.place("i-2")) == ("here", "there")
    with pytest.raises(AgentUnreachable, match="no instance 'i-3'"):
        fleet.place("i-3")


class Silence:
    """A place that is patient itself before it says that an agent does not answer."""

    patience = 0.2

    def __init__(self) -> None:
        self.asked = 0

    async def client(self, _instance: str) -> AgentClient:
        self.asked += 1
        await asyncio.sleep(self.patience)
        raise AgentUnreachable("nobody answers")


def test_a_silent_agent_is_waited_for_once(tmp_path: Path) -> None:
    there = Silence()
    fleet = Fleet(known(tmp_path), cast(Any, "here"), cast(Any, there))
    with pytest.raises(AgentUnreachable, match="nobody answers"):
        asyncio.run(fleet.job("i-2", "k1", "fetch", {}, epoch=1, timeout=60))
    assert there.asked == 1
