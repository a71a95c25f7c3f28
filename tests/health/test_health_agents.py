"""What agents and the balancer say of instances, and what it means when they say nothing."""

import asyncio

import pytest
from small_world import START, World

import beanpole.health.agents


def test_a_dead_agent_is_no_data_and_is_not_started(world: World) -> None:
    env = world.environment(instances_=2)
    collector = world.collector()
    world.look(collector)
    silent = next(iter(world.fleet.agents.values()))
    silent.dead = True
    world.look(collector, 2)
    assert [each.health.status for each in collector.instances(env)] == ["Ok", "Ok"]
    world.look(collector)
    first, second = collector.instances(env)
    assert (first.health.status, first.health.causes) == ("NoData", ("No data. Last seen 30 seconds ago.",))
    assert second.health.status == "Ok"
    assert collector.environment(env).health.status == "Ok"  # one failed check is not enough
    world.look(collector, 2)
    assert world.stored(env) == ("Warning", ["No data received from 1 out of 2 instances."])
    assert silent.starts == 0


def test_all_agents_silent(world: World) -> None:
    env = world.environment(instances_=2)
    collector = world.collector()
    world.look(collector)
    for agent in world.fleet.agents.values():
        agent.dead = True
    world.look(collector, 5)
    assert world.stored(env) == ("Severe", ["None of the instances are sending data."])
    last = world.told(env)[-1]
    assert (
        last.message == "Environment health has transitioned from Ok to Severe. None of the instances are sending data."
    )
    assert (last.severity, last.request_id, last.environment_name) == ("WARN", None, "pets-env")


def test_an_agent_that_hangs_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beanpole.health.agents, "PATIENCE", 0.05)
    env = world.environment(instances_=2)
    next(iter(world.fleet.agents.values())).hangs = True
    world.balancer.hangs = True
    collector = world.collector()
    world.look(collector)
    assert [each.health.status for each in collector.instances(env)] == ["Unknown", "Ok"]


def test_the_sum_of_those_that_hang_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beanpole.health.agents, "LIMIT", 0.05)
    env = world.environment(instances_=3)
    for agent in list(world.fleet.agents.values())[:2]:
        agent.hangs = True
    collector = world.collector()
    world.look(collector)
    assert [each.health.status for each in collector.instances(env)] == ["Unknown", "Unknown", "Ok"]


def test_only_so_many_are_asked_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beanpole.health.agents, "TOGETHER", 2)
    env = world.environment(instances_=7)
    now = most = 0

    async def state() -> dict[str, object]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return {}

    for agent in world.fleet.agents.values():
        agent.state = state  # type: ignore[method-assign]
    collector = world.collector()
    world.look(collector)
    assert most == 2
    assert len(collector.instances(env)) == 7


@pytest.mark.parametrize("problem", [ValueError("a fault of ours"), OSError(24, "Too many open files")])
def test_no_error_of_one_agent_concerns_the_others(world: World, problem: Exception) -> None:
    env = world.environment(instances_=2)
    first = next(iter(world.fleet.agents.values()))
    first.problem = problem
    collector = world.collector()
    world.look(collector)
    assert [each.health.status for each in collector.instances(env)] == ["Unknown", "Ok"]


def test_an_answer_of_another_shape_is_no_answer(world: World) -> None:
    env = world.environment(instances_=2)
    first = next(iter(world.fleet.agents.values()))
    first.state_of = {"processes": "many"}
    collector = world.collector()
    world.look(collector)
    assert [each.health.status for each in collector.instances(env)] == ["Unknown", "Ok"]


def test_a_process_that_is_down(world: World) -> None:
    env = world.environment()
    collector = world.collector()
    world.look(collector)
    agent = next(iter(world.fleet.agents.values()))
    exit_ = {"status": 3, "signal": None, "at": 1.0, "words": "exit status 3"}
    agent.state_of["processes"][0].update(state="backoff", restarts=1, last_exit=exit_)
    world.look(collector)
    assert collector.instances(env)[0].health.causes == ("Following services are not running: web (exit status 3).",)
    world.look(collector, 2)
    assert world.stored(env) == ("Severe", ["Impaired services on all instances."])
    agent.state_of["processes"][0].update(state="running")
    world.look(collector)
    assert collector.instances(env)[0].health.causes == (
        "Process web was restarted 1 time in the last minute (exit status 3).",
    )


def test_the_balancer_finds_an_instance_unhealthy(world: World) -> None:
    env = world.environment(instances_=2)
    collector = world.collector()
    world.look(collector)
    next(iter(world.balancer.pools[env].values()))["healthy"] = False
    world.look(collector)
    assert [each.health.status for each in collector.instances(env)] == ["Degraded", "Ok"]
    assert world.stored(env) == ("Ok", [])
    world.look(collector, 2)
    assert world.stored(env) == ("Degraded", ["ELB processes are not healthy on 1 out of 2 instances."])


def test_what_an_application_takes_of_the_memory(world: World) -> None:
    """Of the instance where it takes most; an older release that ends its last requests does not count."""
    env = world.environment(instances_=2)
    collector = world.collector()
    assert collector.resident(env) == 0
    for agent, size in zip(world.fleet.agents.values(), (100, 200), strict=True):
        (web,) = agent.state_of["processes"]
        agent.state_of["processes"] = [web | {"rss": size}, web | {"name": "worker", "rss": 5}]
        agent.state_of["processes"].append(web | {"release": "d0", "rss": 1000})
    world.look(collector)
    assert collector.resident(env) == 205


def test_few_requests_that_all_fail_are_severe_by_the_health_check(world: World) -> None:
    """Too few to judge by; the third look at a failing check needs none."""
    env = world.environment()
    collector = world.collector()
    world.look(collector)
    next(iter(world.balancer.pools[env].values()))["healthy"] = False
    world.balancer.requests[str(int(START) + 12)] = {env: {"-": {"5xx": 3, "failed": 3, "latency_ms": [1, 1, 1]}}}
    world.look(collector, 3)
    few = "Insufficient request rate (3.0 requests/min) to determine application health."
    assert world.stored(env) == ("Severe", ["ELB processes are not healthy on all instances.", few])


def test_a_balancer_whose_agent_is_away_for_a_moment_changes_nothing(world: World) -> None:
    env = world.environment()
    collector = world.collector()
    world.look(collector)
    world.balancer.dead = True
    world.look(collector, 9)
    assert collector.instances(env)[0].health.status == "Ok"
    assert collector.instances(env)[0].metrics is None
    world.look(collector)
    assert collector.instances(env)[0].health.causes == ("Instance ELB health has not been available for 60 seconds.",)
    world.balancer.dead = False
    world.look(collector)
    assert collector.instances(env)[0].health.status == "Ok"
