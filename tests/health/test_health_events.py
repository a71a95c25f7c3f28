"""What agents tell becomes an event of the environment, once."""

import pytest
from small_world import START, World

from beanpole.store import instances
from beanpole.store.facts import identity
from beanpole.store.schema import fact


def test_an_agents_events_are_told_once(world: World) -> None:
    env = world.environment()
    (instance, agent) = next(iter(world.fleet.agents.items()))
    collector = world.collector()
    agent.dies(1, START + 8)
    world.look(collector)
    words = (
        f"[Instance: {instance}] Process web of release d1 ended after 3 s (exit status 3). "
        "Last lines: Traceback | ImportError: no module named tensorflow"
    )
    about = [event for event in world.told(env) if event.message.startswith("[Instance")]
    assert [(event.message, event.severity, event.request_id) for event in about] == [(words, "WARN", None)]
    world.look(collector, 2)
    agent.dies(2, START + 35, message="Process web of release d1 cannot be started")
    world.look(collector)
    world.look(world.collector(), 2)  # after a restart of the control plane
    about = [event for event in world.told(env) if event.message.startswith("[Instance")]
    assert len(about) == 2
    with world.database.read() as db:
        stored = db.execute(fact.select().where(fact.c.name == f"agent-events:{instance}")).one()
    assert stored.value == "2"


def test_an_agent_that_repeats_itself_is_told_once(world: World) -> None:
    env = world.environment()
    agent = next(iter(world.fleet.agents.values()))
    agent.dies(1, START)

    async def everything(_after: int = 0) -> list[dict[str, object]]:
        return agent.told

    agent.events = everything  # type: ignore[method-assign]
    world.look(world.collector(), 3)
    assert sum(event.message.startswith("[Instance") for event in world.told(env)) == 1


def test_only_the_last_lines_are_told(world: World) -> None:
    env = world.environment()
    agent = next(iter(world.fleet.agents.values()))
    agent.dies(1, START)
    agent.told[0]["detail"]["last_lines"] = [f"line {number}" for number in range(9)] + ["x" * 1000]
    world.look(world.collector())
    assert world.told(env)[0].message.endswith(f"Last lines: line 7 | line 8 | {'x' * 200}")


def test_an_event_of_long_ago_says_when_it_happened(world: World) -> None:
    env = world.environment()
    next(iter(world.fleet.agents.values())).dies(1, START - 7200)
    world.look(world.collector())
    assert "(exit status 3). It happened at 2027-01-15T06:00:00Z. Last lines:" in world.told(env)[0].message


def test_a_flood_of_events_is_told_bit_by_bit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.health.records.AT_ONCE", 3)
    env = world.environment()
    agent = next(iter(world.fleet.agents.values()))
    for seq in range(1, 6):
        agent.dies(seq, START, message=f"Process web died for the {seq}. time")
    collector = world.collector()
    counts = []
    for _ in range(3):
        world.look(collector)
        counts.append(sum(event.message.startswith("[Instance") for event in world.told(env)))
    assert counts == [3, 5, 5]


def test_what_is_known_of_instances_that_are_gone_is_removed(world: World) -> None:
    identity(world.database, "local-1")
    world.environment(instances_=2)
    one, two = world.fleet.agents
    for agent in world.fleet.agents.values():
        agent.dies(1, START)
    world.look(world.collector())
    with world.database.write() as db:
        instances.remove(db, one)
    world.look(world.collector())
    with world.database.read() as db:
        names = {row.name for row in db.execute(fact.select())}
    assert names == {"store", "account", "region", f"agent-events:{two}"}
