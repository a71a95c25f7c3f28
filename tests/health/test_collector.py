"""The collector with a real store: what people and clients see of it, cycle by cycle."""

import asyncio

import pytest
from small_world import START, Agent, World

from beanpole.store import environments


def test_an_environment_that_is_well(world: World) -> None:
    env = world.environment(instances_=2)
    collector = world.collector()
    assert collector.environment(env) is None
    assert collector.instances(env) == ()
    world.look(collector)
    view = collector.environment(env)
    assert view is not None
    assert (view.health.status, view.health.causes) == ("Ok", ())
    assert [each.health.status for each in collector.instances(env)] == ["Ok", "Ok"]
    assert [each.message for each in world.told(env)] == ["Environment health has transitioned to Ok."]


def test_refreshed_at_grows_with_every_cycle_whether_or_not_something_changed(world: World) -> None:
    env = world.environment()
    collector = world.collector()
    times = []
    for _ in range(3):
        world.look(collector)
        times.append(collector.environment(env).refreshed_at)  # type: ignore[union-attr]
    assert times == [int(START + seconds) * 1000 for seconds in (10, 20, 30)]
    assert len(world.told(env)) == 1


def test_a_failed_cycle_is_followed_by_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    env = world.environment()
    collector = world.collector(period=0.01)
    look = collector._look
    failures = [OSError("disk full"), OSError("disk full")]

    def failing() -> object:
        if failures:
            raise failures.pop()
        return look()

    monkeypatch.setattr(collector, "_look", failing)

    async def until_seen() -> None:
        running = asyncio.create_task(collector.run())
        async with asyncio.timeout(10):
            for _ in range(2):  # whoever begins the second has ended the first
                await world.balancer.asked.wait()
                world.balancer.asked.clear()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(until_seen())
    assert not failures
    assert collector.environment(env) is not None


def test_waking_brings_the_next_cycle_forward(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.health.collector.GAP", 0.0)
    env = world.environment()
    collector = world.collector(period=3600.0)

    async def seen(agent: Agent) -> None:
        async with asyncio.timeout(10):
            await agent.asked.wait()
        agent.asked.clear()

    async def wake() -> None:
        running = asyncio.create_task(collector.run())
        await seen(world.balancer)
        await asyncio.to_thread(collector.wake)
        await seen(world.balancer)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(wake())
    assert collector.environment(env) is not None


def test_the_settings_bound_capacity_and_may_switch_off_4xx(world: World) -> None:
    env = world.environment()
    (endpoint,) = world.balancer.pools[env]
    world.balancer.requests[str(int(START) + 5)] = {env: {endpoint: {"2xx": 1, "4xx": 99}}}
    world.look(world.collector())
    assert world.stored(env)[0] == "Severe"
    document = (
        '{"Version":1,"Rules":{"Environment":{"Application":{"ApplicationRequests4xx":{"Enabled":false}},'
        '"ELB":{"ELBRequests4xx":{"Enabled":false}}}}}'
    )
    settings = {
        ("aws:autoscaling:asg", "MinSize", ""): "3",
        ("aws:elasticbeanstalk:healthreporting:system", "ConfigDocument", ""): document,
    }
    with world.database.write() as db:
        environments.put_options(db, env, settings)
    world.look(world.collector())
    assert world.stored(env) == ("Degraded", ["1 active instance is below Auto Scaling group minimum size 3."])


def test_a_restart_of_the_control_plane_repeats_no_transition(world: World) -> None:
    env = world.environment()
    world.look(world.collector(), 2)
    world.look(collector := world.collector(), 2)
    assert len(world.told(env)) == 1
    for agent in world.fleet.agents.values():
        agent.dead = True
    world.look(collector, 5)
    world.look(world.collector(), 6)
    assert [each.message.partition(". ")[0] for each in world.told(env)] == [
        "Environment health has transitioned to Ok.",
        "Environment health has transitioned from Ok to Severe",
    ]


def test_a_terminated_environment_is_forgotten(world: World) -> None:
    env = world.environment()
    collector = world.collector()
    world.look(collector)
    with world.database.write() as db:
        environments.update(db, env, status="Terminated", health="Unknown", terminated_at=world.ms)
    world.look(collector)
    assert collector.environment(env) is None
    assert world.stored(env)[0] == "Unknown"


def test_health_that_comes_after_the_end_is_not_written(world: World) -> None:
    """An environment that ends while its agents are asked."""
    env = world.environment()

    async def call(_method: str, _path: str) -> dict[str, object]:
        with world.database.write() as db:
            environments.update(db, env, status="Terminated", health="Unknown", terminated_at=world.ms)
        return {}

    world.balancer.call = call  # type: ignore[method-assign]
    world.look(world.collector())
    assert world.stored(env)[0] == "Unknown"
    assert world.told(env) == []
