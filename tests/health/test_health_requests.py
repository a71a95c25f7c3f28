"""Requests, as the balancer counted them."""

from small_world import START, World

from beanpole.store import instances


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
