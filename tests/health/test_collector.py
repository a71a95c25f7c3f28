"""The collector with a real store: what people and clients see of it, cycle by cycle."""

import asyncio
from pathlib import Path

import pytest
from small_world import START, Agent, World

import beanpole.health.agents
from beanpole.store import environments, instances
from beanpole.store.facts import identity
from beanpole.store.schema import fact

V1 = 'Expected version "v1" (deployment 1).'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
    world.look(collector, 7)
    assert [each.health.status for each in collector.instances(env)] == ["Degraded", "Ok"]
    world.look(collector, 2)
    assert world.stored(env) == ("Degraded", ["ELB processes are not healthy on 1 out of 2 instances."])


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


def test_requests_of_the_last_minute(world: World) -> None:
    env = world.environment(instances_=2)
    one, two = world.balancer.pools[env]
    collector = world.collector()
    world.look(collector)
    for second in range(int(START) + 10, int(START) + 20):
        world.balancer.requests[str(second)] = {
            env: {
                one: {"2xx": 8, "3xx": 1, "4xx": 1, "5xx": 0, "failed": 0, "latency_ms": [10] * 10},
                two: {"2xx": 5, "3xx": 0, "4xx": 0, "5xx": 5, "failed": 5, "latency_ms": [20] * 10},
                "127.0.0.9:1": {"2xx": 1, "3xx": 0, "4xx": 0, "5xx": 0, "failed": 0, "latency_ms": [5]},
                "-": {"2xx": 0, "3xx": 0, "4xx": 0, "5xx": 1, "failed": 1, "latency_ms": [0]},
            },
            "-": {"-": {"2xx": 0, "3xx": 0, "4xx": 7, "5xx": 0, "failed": 0, "latency_ms": [0]}},
        }
    world.look(collector)
    view = collector.environment(env)
    assert view is not None
    first, second = view.instances
    assert (first.health.status, second.health.status) == ("Warning", "Severe")
    assert second.health.causes == ("50.0 % of the requests are failing with HTTP 5xx.",)
    assert first.metrics is not None
    assert (first.metrics.requests, first.metrics.s2xx, dict(first.metrics.latency)["P99"]) == (100, 80, 0.01)
    assert view.metrics is not None
    assert (view.metrics.requests, view.metrics.s5xx) == (220, 60)
    assert view.health.status == "Severe"
    assert view.health.causes == (
        "27.3 % of the requests to the ELB are failing with HTTP 5xx.",
        "23.8 % of the requests are failing with HTTP 5xx.",
    )
    world.look(collector)
    assert world.balancer.asked_after == [int(START) - 50, int(START) + 9, int(START) + 19]


def test_requests_to_an_endpoint_that_is_gone_are_still_its_instances(world: World) -> None:
    env = world.environment()
    instance = next(iter(world.fleet.agents))
    (old,) = world.balancer.pools[env]
    collector = world.collector()
    world.look(collector)
    with world.database.write() as db:
        instances.remove_endpoint(db, instance, "d1")
    world.serve(env, instance, "d1")
    world.balancer.requests[str(int(START) + 12)] = {env: {old: {"2xx": 4, "latency_ms": [1]}}}
    world.look(collector)
    found = collector.instances(env)[0].metrics
    assert found is not None
    assert found.requests == 4


def test_a_clock_that_was_put_back_counts_nothing_twice(world: World) -> None:
    env = world.environment()
    (endpoint,) = world.balancer.pools[env]
    collector = world.collector()
    world.balancer.requests[str(int(START) + 5)] = {env: {endpoint: {"2xx": 3}}}
    world.look(collector)

    async def again(_method: str, path: str) -> dict[str, object]:
        second = int(START) + 5
        told = {"now": second, "seconds": {str(second): {env: {endpoint: {"2xx": 3}}}}}
        return {"pools": world.balancer.pools} if path == "/endpoints" else told

    world.balancer.call = again  # type: ignore[method-assign]
    world.look(collector)
    found = collector.environment(env)
    assert found is not None
    assert found.metrics is not None
    assert found.metrics.requests == 3


def test_a_deployment_from_the_begin_to_its_end(world: World) -> None:
    env = world.environment(instances_=2)
    one, two = world.fleet.agents
    collector = world.collector()
    world.look(collector)
    world.clock.now += 60
    world.release(env, "v2", "d2")
    operation = world.operate(env, one, two)
    world.look(collector)
    assert world.stored(env) == ("Info", ["Application update in progress (running for 10 seconds)."])
    world.journal(operation, "forward/prepare-1/begin")
    world.look(collector)
    assert world.told(env)[-1].message == (
        "Environment health has transitioned from Ok to Info. Application update in progress (running for 10 seconds)."
    )
    view = collector.environment(env)
    assert view is not None
    assert view.health.causes == (
        "Application update in progress on 2 instances. 0 out of 2 instances completed (running for 20 seconds).",
    )
    first = view.instances[0]
    assert (first.health.status, first.health.causes) == (
        "Info",
        ("Performing application deployment (running for 20 seconds).",),
    )
    assert first.deployment is not None
    assert (first.deployment.number, first.deployment.version_label, first.deployment.status) == (
        2,
        "v2",
        "In Progress",
    )
    for step in ("prepare-1", "activate-1", "gate-1", "finish-1"):
        world.journal(operation, f"forward/{step}/{one}")
    world.serve(env, one, "d2")
    world.look(collector)
    view = collector.environment(env)
    assert view is not None
    assert view.health.causes == (
        "Application update in progress on 1 instance. 1 out of 2 instances completed (running for 30 seconds).",
    )
    assert [each.health.status for each in view.instances] == ["Ok", "Info"]
    world.serve(env, two, "d2")
    world.close(operation, env, release=2)
    world.look(collector)
    assert world.stored(env) == ("Ok", ["Application update completed 10 seconds ago and took 30 seconds."])
    assert [each.health.causes for each in collector.instances(env)] == [
        ("Application deployment completed 10 seconds ago and took 30 seconds.",)
    ] * 2
    assert collector.instances(env)[0].deployment.status == "Deployed"  # type: ignore[union-attr]
    world.look(collector, 12)
    assert world.stored(env) == ("Ok", [])
    assert [each.message.partition(". ")[0] for each in world.told(env)] == [
        "Environment health has transitioned to Ok.",
        "Environment health has transitioned from Ok to Info",
        "Environment health has transitioned from Info to Ok",
    ]


def test_a_creation(world: World) -> None:
    env = world.environment(instances_=0)
    with world.database.write() as db:
        environments.update(db, env, release=None, version_label=None, health="Pending", desired=1)
    operation = world.operate(env, "new-1", kind="create", release=1)
    world.look(collector := world.collector())
    assert [each.message for each in world.told(env)] == [
        "Environment health has transitioned to Pending. Initialization in progress (running for 10 seconds). "
        "There are no instances."
    ]
    instance = world.instance(env, state="launching")
    world.fleet.agents[instance].dead = True
    world.journal(operation, "forward/prepare-1/begin")
    world.journal(operation, "forward/launch/new-1/bind", instance=instance, address="127.0.0.2")
    world.look(collector)
    view = collector.environment(env)
    assert view is not None
    assert view.health.status == "Pending"
    assert view.instances[0].health.causes[0] == "Performing initialization (running for 10 seconds)."
    assert view.instances[0].health.status == "Pending"


def test_a_creation_that_failed(world: World) -> None:
    env = world.environment(instances_=0)
    instance = world.instance(env, state="launching")
    with world.database.write() as db:
        environments.update(db, env, release=None, version_label=None)
    world.look(collector := world.collector(), 3)
    assert world.stored(env) == ("Degraded", ["Instance initialization failed on all instances."])
    assert [each.id for each in collector.instances(env)] == [instance]


def test_an_instance_that_was_left_behind(world: World) -> None:
    env = world.environment(instances_=4)
    instance = next(iter(world.fleet.agents))
    with world.database.write() as db:
        instances.drain(db, world.ms, instance, keep=None)
        instances.update(db, instance, release=None)
    world.look(collector := world.collector(), 3)
    view = collector.environment(env)
    assert view is not None
    assert view.instances[0].health.status == "Severe"
    assert view.instances[0].health.causes == (f"Incorrect application version n/a. {V1}",)
    assert view.instances[0].deployment.status == "Failed"  # type: ignore[union-attr]
    assert world.stored(env) == (
        "Degraded",
        [f"Incorrect application version found on 1 out of 4 instances. {V1}"],
    )


def test_another_release_with_the_same_content_is_no_other_version(world: World) -> None:
    env = world.environment()
    world.release(env, "v1-again", "d1")
    with world.database.write() as db:
        environments.update(db, env, release=2, version_label="v1-again")
    world.look(collector := world.collector())
    view = collector.instances(env)[0]
    assert view.health.status == "Ok"
    assert view.deployment is not None
    assert (view.deployment.number, view.deployment.version_label) == (2, "v1-again")


def test_a_later_release_with_the_same_content_that_never_passed_changes_nothing(world: World) -> None:
    env = world.environment()
    world.release(env, "v1-never-passed", "d1")
    world.look(collector := world.collector())
    view = collector.instances(env)[0]
    assert view.health.status == "Ok"
    assert view.deployment is not None
    assert (view.deployment.number, view.deployment.version_label) == (1, "v1")


def test_an_instance_on_its_way_out_does_not_count(world: World) -> None:
    env = world.environment()
    world.instance(env, state="terminating")
    world.look(collector := world.collector())
    assert [each.health.status for each in collector.instances(env)] == ["Ok"]


def test_a_worker_needs_no_balancer(world: World) -> None:
    env = world.environment(tier="Worker")
    with world.database.write() as db:
        for instance in world.fleet.agents:
            instances.remove_endpoint(db, instance, "d1")
    world.look(collector := world.collector(), 12)
    assert collector.instances(env)[0].health.status == "Ok"


def test_what_the_system_does_by_itself_shows_on_the_instance_alone(world: World) -> None:
    env = world.environment(instances_=2)
    one = next(iter(world.fleet.agents))
    operation = world.operate(env, one, kind="replace", origin="system", release=1)
    world.journal(operation, "forward/prepare-1/begin")
    world.look(collector := world.collector())
    assert world.stored(env) == ("Ok", [])
    assert [each.health.status for each in collector.instances(env)] == ["Info", "Ok"]


def test_a_plan_of_another_beanpole_still_counts_as_under_way(world: World) -> None:
    env = world.environment()
    operation = world.operate(env, *world.fleet.agents)
    with world.database.write() as db:
        db.exec_driver_sql("UPDATE operation SET plan = '{\"schema\": 99}' WHERE id = ?", (operation,))
    world.look(world.collector())
    assert world.stored(env) == ("Info", ["Configuration update in progress (running for 10 seconds)."])


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
