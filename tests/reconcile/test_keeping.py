"""An agent that starts anew may give an application another port; whoever knows better is not overruled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beanpole.reconcile.keeping import Keeping
from beanpole.store import environments, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Endpoint, Instance


class Agent:
    """An agent that says where its one web process is."""

    def __init__(self, **process: Any) -> None:
        usual = {"release": "d1", "name": "web", "state": "running", "address": "127.0.0.1", "port": 1}
        self._process = usual | process

    async def hello(self) -> dict[str, Any]:
        return {"started_at": 1.0}

    async def state(self) -> dict[str, Any]:
        return {"processes": [self._process]}


class Edge:
    applied = 0

    async def keep_alive(self) -> None:
        pass

    async def apply(self) -> None:
        self.applied += 1


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database.at(tmp_path / "beanpole.db")
    with database.write() as db:
        environments.add(
            db, Environment("e-1", "shop", "a", None, None, "WebServer", "p", "Ready", "Ok", "[]", 1, "v1", 1, 0, 0)
        )
        instances.add(db, Instance("i-1", "e-1", "running", "127.0.0.1", 1, 0))
    return database


def endpoint_after(database: Database, agent: Agent, since: int) -> tuple[Endpoint, int]:
    """The endpoint, first on port 1 of 127.0.0.1, after one look at the agent; and how often the balancer was told."""
    with database.write() as db:
        instances.put_endpoint(db, Endpoint("i-1", "d1", "127.0.0.1", 1, "serving", since, "{}"))

    async def keep_alive(_instance: str) -> Agent:
        return agent

    edge = Edge()
    asyncio.run(Keeping(database, SimpleNamespace(keep_alive=keep_alive), edge).once())  # type: ignore[arg-type]
    with database.read() as db:
        return instances.endpoints_of(db, "i-1")[0], edge.applied


def test_a_moved_application_is_followed(database: Database) -> None:
    endpoint, told = endpoint_after(database, Agent(port=2), since=0)
    assert (endpoint.port, told) == (2, 1)


def test_one_that_stayed_changes_nothing(database: Database) -> None:
    endpoint, told = endpoint_after(database, Agent(), since=0)
    assert (endpoint.port, told) == (1, 0)


def test_one_that_is_just_starting_has_not_shown_where_it_listens(database: Database) -> None:
    endpoint, told = endpoint_after(database, Agent(state="starting", address="127.9.9.9"), since=0)
    assert (endpoint.address, told) == ("127.0.0.1", 0)


def test_an_endpoint_that_was_set_since_the_agent_was_asked_stays(database: Database) -> None:
    endpoint, told = endpoint_after(database, Agent(port=2), since=2**60)
    assert (endpoint.port, told) == (1, 0)
