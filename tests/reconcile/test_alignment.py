"""What the watch submits, and when: looks at a real database; the balancer's view and the agents' words are given."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beanpole.operations.observed import members
from beanpole.operations.release import Content, Process, encode
from beanpole.options import catalogue
from beanpole.policies import plan as plans
from beanpole.reconcile import watch as watching
from beanpole.reconcile.watch import Watch
from beanpole.store import environments, events, instances, operations
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Endpoint, Instance
from beanpole.store.schema import operation

CONTENT = Content(manifest="m", files="f", python="3.11", processes=(Process("web", "x"),), layer="l", settings=())
DIGEST = CONTENT.digest()
WELL, ILL = {"healthy": True}, {"healthy": False}
BEGIN = 1_000_000.0


class Edge:
    applied = 0

    async def apply(self) -> None:
        self.applied += 1


class Agents:
    """A fleet whose agents say what `states` has for them; others are silent."""

    def __init__(self, **states: Any) -> None:
        self.states = states

    async def running(self, instance_id: str) -> Any:
        said = self.states.get(instance_id)

        async def state() -> Any:
            return said

        return SimpleNamespace(state=state) if said is not None else None


class World:
    """Two instances that serve release 1 at ports 1 and 2; time passes when looks are made."""

    def __init__(self, folder: Path, desired: int = 2) -> None:
        self.now = BEGIN
        self.database = Database.at(folder / "beanpole.db")
        self.database.clock = lambda: self.now
        self.edge = Edge()
        with self.database.write() as db:
            environments.add(
                db,
                Environment(
                    "e-1", "shop", "a", None, "shop", "WebServer", "p", "Ready", "Ok", "[]", desired, "v1", 1, 0, 0
                ),
            )
            environments.add_release(
                db,
                "e-1",
                version_label="v1",
                digest=DIGEST,
                content=encode(CONTENT),
                settings="[]",
                created_at=0,
                passed_at=int(BEGIN * 1000),
            )
            for number in (1, 2):
                instances.add(db, Instance(f"i-{number}", "e-1", "running", "127.0.0.1", 1, number))
                instances.put_endpoint(db, Endpoint(f"i-{number}", DIGEST, "127.0.0.1", number, "serving", 0, "{}"))

    def watch(self, fleet: Any = None) -> Watch:
        """By default every agent says that the release is there and its process runs."""
        control: Any = SimpleNamespace(
            database=self.database, registry=catalogue.load(), balancers=self.edge, wake=lambda: None
        )
        return Watch(control, fleet or Agents(**{"i-1": state(), "i-2": state()}))

    def look(self, watch: Watch, first: Any, second: Any, *, seconds: int = 1, step: float = 1.0) -> None:
        """One look each `step` seconds."""
        view = {"e-1": {"127.0.0.1:1": first, "127.0.0.1:2": second}}
        for _ in range(int(seconds / step)):
            self.now += step
            asyncio.run(watch.look(view))

    def change(self, work: Any) -> None:
        with self.database.write() as db:
            work(db)

    def submitted(self) -> list[operations.Operation]:
        with self.database.read() as db:
            return operations.listed(db, limit=1000)[::-1]

    def fail(self) -> None:
        """What was submitted ends in failure."""
        self.change(lambda db: db.execute(operation.update().values(phase="done", outcome="failed")))

    def told(self) -> list[str]:
        with self.database.read() as db:
            return [each.message for each in reversed(events.listed(db, events.Filter()))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def returns(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of every return that was begun; none is carried out."""
    found: list[str] = []

    def begin(*_: Any, words: Any, **__: Any) -> None:
        found.append(words[0][0])
        draft = operations.Draft("e-1", "rollback", "system", "s", "r", 2, 1, 2, plans.encode(EMPTY), 0)
        world.change(lambda db: operations.submit(db, 0, draft))

    monkeypatch.setattr(watching.rollback, "earlier", lambda *_, **__: 1)
    monkeypatch.setattr(watching.rollback, "decide", lambda *_, **__: None)
    monkeypatch.setattr(watching.rollback, "rollback", begin)
    return found


def state(**web: Any) -> dict[str, Any]:
    usual = {"release": DIGEST, "name": "web", "state": "running", "pid": 1, "restarts": 0, "started_at": BEGIN - 9}
    return {"releases": [DIGEST], "processes": [usual | web]}


GONE: dict[str, Any] = {"releases": [], "processes": []}


def test_a_release_that_turns_bad_everywhere_is_returned_from_once(world: World, returns: list[str]) -> None:
    watch = world.watch(Agents(**{"i-1": state(), "i-2": state()}))
    world.look(watch, WELL, WELL, seconds=5)
    world.look(watch, ILL, ILL, seconds=20)
    assert len(returns) == 1
    assert "the health check fails on i-1, i-2." in returns[0]


def test_that_there_is_nothing_to_return_to_is_told_once(world: World) -> None:
    watch = world.watch()
    world.look(watch, WELL, WELL, seconds=5)
    world.look(watch, ILL, ILL, seconds=180)
    (told,) = world.told()
    assert told.endswith("It stays: there is no earlier release that passed and is another one.")
    assert world.submitted() == []


def test_nobody_is_brought_along_while_the_release_is_on_trial(world: World, returns: list[str]) -> None:
    """The operation would keep it from being judged, again and again."""
    world.change(lambda db: instances.remove_endpoint(db, "i-2", DIGEST))
    watch = world.watch()
    world.look(watch, ILL, ILL, seconds=20)
    assert [each.kind for each in world.submitted()] == ["rollback"]
    assert len(returns) == 1


def test_an_endpoint_that_gets_no_requests_says_nothing_of_the_release(world: World, returns: list[str]) -> None:
    world.change(lambda db: instances.drain(db, 0, "i-2", keep=None))
    world.look(world.watch(), WELL, ILL, seconds=120)
    assert returns == []


def test_slow_starts_after_a_restart_of_the_machine_are_waited_for(world: World, returns: list[str]) -> None:
    up = state(started_at=BEGIN + 6)
    watch = world.watch(Agents(**{"i-1": up, "i-2": up}))
    world.look(watch, WELL, WELL, seconds=5)
    world.look(watch, ILL, ILL, seconds=50)
    assert (returns, world.submitted()) == ([], [])


def test_agents_of_a_well_fleet_are_asked_now_and_then_and_not_at_all_when_nothing_is_watched(world: World) -> None:
    agents = Agents(**{"i-1": state(), "i-2": state()})
    asked: list[str] = []
    running = agents.running

    async def counting(instance_id: str) -> Any:
        asked.append(instance_id)
        return await running(instance_id)

    agents.running = counting  # type: ignore[method-assign]
    watch = world.watch(agents)
    world.look(watch, WELL, WELL, seconds=30)
    assert len(asked) == 6
    world.now += 3600
    world.look(watch, WELL, WELL, seconds=30)
    assert len(asked) == 6


def test_an_instance_that_lost_its_release_gets_it_again_and_nobody_returns(world: World, returns: list[str]) -> None:
    watch = world.watch(Agents(**{"i-1": state(), "i-2": GONE}))
    world.look(watch, WELL, ILL, seconds=20)
    assert returns == []
    with world.database.read() as db:
        fleet = {each.id: each.digest for each in members(db, "e-1")}
    assert fleet == {"i-1": DIGEST, "i-2": None}, "whoever plans a deployment must know that nothing serves there"
    assert world.edge.applied == 1
    (brought,) = world.submitted()
    assert brought.kind == "align"
    assert {slot for step in plans.decode(brought.plan).steps for slot in step.slots} == {"i-2"}
    told = world.told()
    assert told[0].startswith("[Instance: i-2] The release that served here is gone from the instance")
    assert told[1] == "Bringing the instances into line with release 1: i-2."


def test_an_operation_that_began_meanwhile_is_not_disturbed(world: World) -> None:
    agents = Agents(**{"i-1": state(), "i-2": GONE})
    watch = world.watch(agents)
    world.look(watch, WELL, ILL, seconds=6)
    running = agents.running

    async def and_somebody_deploys(instance_id: str) -> Any:
        world.change(
            lambda db: operations.submit(
                db, 0, operations.Draft("e-1", "update", "user", "u", "r", 1, 1, 2, plans.encode(EMPTY), 0)
            )
        )
        agents.running = running  # type: ignore[method-assign]
        return await running(instance_id)

    agents.running = and_somebody_deploys  # type: ignore[method-assign]
    world.look(watch, WELL, ILL, seconds=10)
    with world.database.read() as db:
        assert len(instances.endpoints(db, "e-1")) == 2
    assert [each.kind for each in world.submitted()] == ["update"]


EMPTY = plans.Plan(policy="AllAtOnce", steps=())


def test_what_keeps_failing_is_tried_after_growing_pauses_and_told_once(world: World) -> None:
    world.change(lambda db: instances.remove_endpoint(db, "i-2", DIGEST))
    watch = world.watch()
    for _ in range(61):
        world.look(watch, WELL, ILL, seconds=60, step=60)
        world.fail()
    minutes = [round((each.created_at / 1000 - BEGIN) / 60) - 1 for each in world.submitted()]
    assert minutes == [0, 1, 3, 7, 15, 31]
    assert world.told() == ["Bringing the instances into line with release 1: i-2."]


def test_one_failing_instance_does_not_hold_up_another(world: World) -> None:
    world.change(lambda db: instances.remove_endpoint(db, "i-2", DIGEST))
    watch = world.watch()
    for _ in range(5):
        world.look(watch, WELL, ILL, seconds=60, step=60)
        world.fail()
    world.change(lambda db: instances.remove_endpoint(db, "i-1", DIGEST))
    world.look(watch, ILL, ILL)
    newest = world.submitted()[-1]
    assert {slot for step in plans.decode(newest.plan).steps for slot in step.slots} == {"i-1"}


def test_an_instance_whose_removal_failed_is_removed(tmp_path: Path) -> None:
    world = World(tmp_path, desired=1)
    world.change(lambda db: instances.update(db, "i-2", state="terminating"))
    world.look(world.watch(), WELL, WELL)
    (removal,) = world.submitted()
    steps = plans.decode(removal.plan).steps
    assert [(type(step).__name__, step.slots) for step in steps] == [("Leave", ("i-2",)), ("Terminate", ("i-2",))]


def test_missing_instances_are_launched_and_surplus_ones_removed(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    few = World(tmp_path / "few", desired=3)
    few.look(few.watch(), WELL, WELL)
    assert next(type(step).__name__ for step in plans.decode(few.submitted()[0].plan).steps) == "Launch"
    many = World(tmp_path, desired=1)
    many.look(many.watch(), WELL, WELL)
    assert {slot for step in plans.decode(many.submitted()[0].plan).steps for slot in step.slots} == {"i-2"}
