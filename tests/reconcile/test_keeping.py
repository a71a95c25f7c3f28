"""An agent that starts anew may give an application another port; whoever knows better is not overruled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.reconcile import keeping as keeping_module
from beanpole.reconcile.keeping import SILENCE, Keeping
from beanpole.store import environments, instances, operations
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Endpoint, Instance


class Agent:
    """An agent that says where its one web process is."""

    def __init__(self, **process: Any) -> None:
        usual = {"release": "d1", "name": "web", "state": "running", "address": "127.0.0.1", "port": 1}
        self.process = usual | process
        self.greeting = None

    async def hello(self) -> dict[str, Any]:
        return {"started_at": 1.0}

    async def state(self) -> dict[str, Any]:
        return {"processes": [self.process]}


class Fleet:
    """Agents by instance; those that do not run are started when they are to be kept alive, which is remembered."""

    def __init__(self, **agents: Agent) -> None:
        self._agents = agents
        self.dead: set[str] = set()
        self.started: list[str] = []
        self.on_look: Callable[[], None] = lambda: None

    async def running(self, instance_id: str) -> Agent | None:
        self.on_look()
        return self._agents[instance_id] if instance_id not in self.dead else None

    async def keep_alive(self, instance_id: str) -> Agent:
        self.started.append(instance_id)
        return self._agents[instance_id]


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


def keeping_of(database: Database, fleet: Fleet) -> Keeping:
    return Keeping(database, fleet, Edge())  # type: ignore[arg-type]


def endpoint_after(database: Database, agent: Agent, since: int) -> tuple[Endpoint, int]:
    """The endpoint, first on port 1 of 127.0.0.1, after one look at the agent; and how often the balancer was told."""
    with database.write() as db:
        instances.put_endpoint(db, Endpoint("i-1", "d1", "127.0.0.1", 1, "serving", since, "{}"))
    edge = Edge()
    asyncio.run(Keeping(database, Fleet(**{"i-1": agent}), edge).once())  # type: ignore[arg-type]
    with database.read() as db:
        return instances.endpoints_of(db, "i-1")[0], edge.applied


def change(database: Database, **columns: object) -> None:
    with database.write() as db:
        instances.update(db, "i-1", **columns)


def begin_operation(database: Database) -> None:
    with database.write() as db:
        operations.submit(db, 0, operations.Draft("e-1", "create", "user", "u", "r", 1, 1, 1, "{}", 0))


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
    database.clock = lambda: 1.0  # everything happens in one moment
    endpoint, told = endpoint_after(database, Agent(port=2), since=1000)
    assert (endpoint.port, told) == (1, 0)


def test_one_that_was_set_in_the_future_was_set_before_the_clock_was_put_back(database: Database) -> None:
    endpoint, told = endpoint_after(database, Agent(port=2), since=2**60)
    assert (endpoint.port, told) == (2, 1)


def test_a_move_is_seen_although_the_process_was_not_up_at_the_first_look(database: Database) -> None:
    with database.write() as db:
        instances.put_endpoint(db, Endpoint("i-1", "d1", "127.0.0.1", 1, "serving", 0, "{}"))
    agent = Agent(state="backoff", port=2)
    keeping = keeping_of(database, Fleet(**{"i-1": agent}))
    asyncio.run(keeping.once())
    agent.process["state"] = "running"
    asyncio.run(keeping.once())
    with database.read() as db:
        assert instances.endpoints_of(db, "i-1")[0].port == 2


def test_a_port_that_moved_at_boot_is_followed_before_anybody_knows_the_address(database: Database) -> None:
    endpoint, told = endpoint_after(database, Agent(port=2, address=None), since=0)
    assert (endpoint.address, endpoint.port, told) == ("127.0.0.1", 2, 1)


def test_an_agent_that_died_is_started_again(database: Database) -> None:
    fleet = Fleet(**{"i-1": Agent()})
    fleet.dead = {"i-1"}
    asyncio.run(keeping_of(database, fleet).once())
    assert fleet.started == ["i-1"]


def test_the_agent_of_an_instance_that_is_being_removed_stays_dead(database: Database) -> None:
    fleet = Fleet(**{"i-1": Agent()})
    fleet.dead = {"i-1"}
    fleet.on_look = lambda: change(database, state="terminating")  # between the list and the deed
    asyncio.run(keeping_of(database, fleet).once())
    asyncio.run(keeping_of(database, fleet).once())
    assert fleet.started == []


def test_an_instance_whose_launch_failed_is_made_after_all(database: Database) -> None:
    change(database, state="launching")
    fleet = Fleet(**{"i-1": Agent()})
    fleet.dead = {"i-1"}
    asyncio.run(keeping_of(database, fleet).once())
    assert fleet.started == ["i-1"]
    with database.read() as db:
        assert [each.state for each in instances.listed(db)] == ["running"]


def test_one_that_an_operation_is_launching_is_left_to_it(database: Database) -> None:
    change(database, state="launching")
    begin_operation(database)
    fleet = Fleet(**{"i-1": Agent()})
    fleet.dead = {"i-1"}
    asyncio.run(keeping_of(database, fleet).once())
    assert fleet.started == []


class Unreachable(Fleet):
    """Nothing answers while `cut`."""

    cut = True

    async def running(self, instance_id: str) -> Agent | None:
        return None if self.cut else self._agents[instance_id]

    async def keep_alive(self, instance_id: str) -> Agent:
        raise AgentUnreachable(f"host1 ({instance_id}) does not answer")


def silent_since(database: Database) -> int | None:
    with database.read() as db:
        return instances.listed(db)[0].silent_since


def test_an_instance_that_is_silent_for_long_counts_as_unreachable_until_it_answers(database: Database) -> None:
    now = 1000.0
    database.clock = lambda: now
    fleet = Unreachable(**{"i-1": Agent()})
    keeping = keeping_of(database, fleet)
    asyncio.run(keeping.once())
    assert silent_since(database) is None, "one lost answer is nothing"
    now += SILENCE
    asyncio.run(keeping.once())
    assert silent_since(database) == 1000_000
    fleet.cut = False
    asyncio.run(keeping.once())
    assert silent_since(database) is None


def test_one_that_hangs_keeps_no_other_from_being_looked_at(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping_module, "PERIOD", 0.05)
    with database.write() as db:
        instances.add(db, Instance("i-2", "e-1", "running", "127.0.0.2", 1, 0))

    class Hanging(Fleet):
        async def keep_alive(self, instance_id: str) -> Agent:
            if instance_id == "i-1":
                await asyncio.Event().wait()
            return await super().keep_alive(instance_id)

    async def look() -> list[str]:
        fleet = Hanging(**{"i-1": Agent(), "i-2": Agent()})
        fleet.dead = {"i-1", "i-2"}
        keeping = keeping_of(database, fleet)
        running = asyncio.create_task(keeping.run())
        while len(fleet.started) < 2:  # noqa: ASYNC110 (the double has no event)
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return fleet.started

    assert asyncio.run(asyncio.wait_for(look(), 30)) == ["i-2", "i-2"]
