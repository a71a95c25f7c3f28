"""What clients notice while pools change: nothing. Real Envoy, counted load."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from balancer_home import QUICK, BalancerHome, Endpoint, Pool, balancer, endpoints, until
from echo_app import EchoApp

from load import Load, Report, Settings

pytestmark = pytest.mark.slow

HOST = "a.localhost"


def lossless(report: Report) -> None:
    assert report.failed == 0, (report.kinds, report.failures[:5])
    assert report.answered == report.sent > 0


async def apps_of(*versions: str) -> list[EchoApp]:
    return [await EchoApp(version).start() for version in versions]


async def replace_one(home: BalancerHome, pool: Pool, old: EchoApp, new: EchoApp) -> Pool:
    """Add, see healthy, drain, see idle, remove, stop."""
    (gone,), (come,) = endpoints([old]), endpoints([new])
    pool = replace(pool, endpoints=(*pool.endpoints, come))
    await home.put(pool)
    await home.until(pool.name, come, healthy=True)
    rest = tuple(one for one in pool.endpoints if one != gone)
    await home.put(replace(pool, endpoints=(*rest, replace(gone, state="draining"))))
    await home.until(pool.name, gone, active=0, state="draining")
    pool = replace(pool, endpoints=rest)
    await home.put(pool)
    await old.stop()
    return pool


def test_rolling_four_endpoints_loses_nothing() -> None:
    async def run() -> None:
        async with balancer() as home:
            old = await apps_of("1", "1", "1", "1")
            pool = Pool("e-1", (HOST,), endpoints(old), QUICK)
            await home.put(pool)
            settings = Settings(
                port=home.port, host=HOST, rate=200, idle=5, post=0.2, slow_path="/slow?s=0.3", slow_every=0.2
            )
            async with Load(settings) as load:
                for app in old:
                    pool = await replace_one(home, pool, app, await EchoApp("2").start())
                    await load.more(100)
            report = load.report()
            lossless(report)
            assert list(report.versions) == ["1", "2"]
            assert report.versions["1"].last < report.versions["2"].last

    asyncio.run(run())


def test_the_only_endpoint_is_replaced_again_and_again_without_loss() -> None:
    async def run() -> None:
        async with balancer() as home:
            app = await EchoApp("0").start()
            pool = Pool("e-1", (HOST,), endpoints([app]), QUICK)
            await home.put(pool)
            async with Load(Settings(port=home.port, host=HOST, rate=300, post=0.3)) as load:
                for turn in range(6):  # quicker than Envoy would pass on changes of health by default
                    new = await EchoApp(str(turn + 1)).start()
                    pool = await replace_one(home, pool, app, new)
                    app = new
                await load.more(10)
            lossless(load.report())
            assert list(load.report().versions)[-1] == "6"

    asyncio.run(run())


def test_an_endpoint_serves_the_moment_it_is_reported_healthy() -> None:
    async def run() -> None:
        async with balancer() as home:
            (app,) = await apps_of("1")
            empty = Pool("e-1", (HOST,), (), QUICK)
            await home.put(empty)
            assert (await home.get())[0] == 503
            for _ in range(3):
                await home.put(replace(empty, endpoints=endpoints([app])))
                await home.until("e-1", *endpoints([app]), healthy=True)
                assert (await home.get())[0] == 200
                await home.put(empty)

    asyncio.run(run())


def test_swapped_hosts_answer_from_the_other_pool_at_once() -> None:
    async def run() -> None:
        async with balancer() as home:
            blue, green = await apps_of("blue", "green")
            one = Pool("e-1", (HOST,), endpoints([blue]), QUICK)
            two = Pool("e-2", ("b.localhost",), endpoints([green]), QUICK)
            await home.put(one, two)
            async with Load(Settings(port=home.port, host=HOST, rate=200, idle=3)) as load:
                for turn in range(4):
                    names = [(HOST, "b.localhost"), ("b.localhost", HOST)][turn % 2 == 0]
                    await home.put(replace(one, hosts=names[:1]), replace(two, hosts=names[1:]))
                    for _ in range(5):
                        _, _, body = await home.get(host=HOST)
                        assert json.loads(body)["version"] == ("green" if turn % 2 == 0 else "blue")
            lossless(load.report())

    asyncio.run(run())


def test_other_pools_come_change_and_go_without_being_noticed() -> None:
    async def run() -> None:
        async with balancer() as home:
            (app,) = await apps_of("1")
            pool = Pool("e-1", (HOST,), endpoints([app]), QUICK)
            sleepy = replace(QUICK, path="/slow?s=0.3", timeout=4.0)
            other = Pool("e-2", ("b.localhost",), endpoints([app]), sleepy)
            await home.put(pool)
            async with Load(Settings(port=home.port, host=HOST, rate=200, websocket="/ws")) as load:
                # Its clients read 404 before and after, and never that nobody is there.
                asking = Settings(port=home.port, host="b.localhost", rate=400, allowed=(404,))
                async with Load(asking) as other_load:
                    for _ in range(3):
                        await home.put(pool, other)
                        assert (await home.get(host="b.localhost"))[0] == 200  # the pool was warm before its route was
                        await home.put(pool)
                        assert (await home.get(host="b.localhost"))[0] == 404
                lossless(other_load.report())
                await home.put(pool, other)
                # Another kind of check makes a new cluster of the busy pool, too.
                pool = replace(pool, health=replace(QUICK, path=None))
                await home.put(pool, other)
                async with Load(Settings(port=home.port, host="b.localhost", rate=100)) as second:
                    await home.put(replace(pool, health=QUICK), other)
                lossless(second.report())
                await home.put(pool)
                assert (await home.get(host="b.localhost"))[0] == 404
            lossless(load.report())
            assert sorted(path.name for path in (home.home / "xds" / "eds").iterdir()) == ["e-1.json"]

    asyncio.run(run())


def test_a_draining_endpoint_finishes_what_it_has_and_gets_nothing_new() -> None:
    async def run() -> None:
        async with balancer() as home:
            old, new = await apps_of("old", "new")
            pool = Pool("e-1", (HOST,), endpoints([old]), QUICK)
            (gone,), (come,) = endpoints([old]), endpoints([new])
            await home.put(pool)
            async with Load(Settings(port=home.port, host=HOST, rate=20, websocket="/ws")) as load:
                slow = asyncio.create_task(home.get("/slow?s=1.5"))
                await home.until("e-1", gone, healthy=True, active=2)
                await home.put(replace(pool, endpoints=(gone, come)))
                await home.until("e-1", come, healthy=True)
                await home.put(replace(pool, endpoints=(replace(gone, state="draining"), come)))
                seen = old.requests
                for _ in range(20):
                    assert json.loads((await home.get())[2])["version"] == "new"
                assert old.requests == seen
                assert (await home.endpoints("e-1"))[gone.key] == {"healthy": True, "active": 2, "state": "draining"}
                assert json.loads((await slow)[2])["version"] == "old"
                await home.until("e-1", gone, active=1)  # the websocket
                echoes = load.report().echoes
                await until(lambda: load.report().echoes >= echoes + 3)
            lossless(load.report())
            await home.until("e-1", gone, active=0)

    asyncio.run(run())


def test_killed_endpoints_cost_no_get() -> None:
    async def run() -> None:
        async with balancer() as home:
            apps = await apps_of("1", "1", "1")
            pool = Pool("e-1", (HOST,), endpoints(apps), QUICK)
            await home.put(pool)
            async with Load(Settings(port=home.port, host=HOST, rate=200, path="/slow?s=0.02")) as load:
                for app in apps[:2]:
                    app.kill()
                    (dead,) = endpoints([app])
                    await home.until("e-1", dead, healthy=False)
            lossless(load.report())

    asyncio.run(run())


def test_weights_share_the_requests() -> None:
    async def run() -> None:
        async with balancer() as home:
            old, new, warm = await apps_of("old", "new", "warm")
            weighted = [
                replace(one, weight=weight) for one, weight in zip(endpoints([old, new, warm]), (9, 1, 0), strict=True)
            ]
            await home.put(Pool("e-1", (HOST,), tuple(weighted), QUICK))
            for _ in range(100):
                await home.get()
            assert warm.requests == 0
            assert 7 <= new.requests <= 13  # each of Envoy's workers keeps its own round
            assert (await home.endpoints("e-1"))[weighted[2].key]["healthy"]

    asyncio.run(run())


def test_what_the_application_hears_and_the_client_reads() -> None:
    async def run() -> None:
        async with balancer() as home:
            (app,) = await apps_of("1")
            await home.put(Pool("e-1", (HOST,), endpoints([app]), QUICK))
            host = f"A.localhost:{home.port}"
            status, answer, body = await home.get(host=host, x_forwarded_for="9.9.9.9", x_forwarded_proto="https")
            heard = json.loads(body)["headers"]
            assert status == 200
            assert heard["host"] == host  # with its port, or redirects would lead elsewhere
            assert heard["x-forwarded-for"] == "9.9.9.9,127.0.0.1"
            assert heard["x-forwarded-proto"] == "http"
            assert heard["x-forwarded-port"] == str(home.port)
            assert not [name for name in answer if name.startswith(("x-envoy", "server"))]
            # A client cannot steer the balancer.
            assert (await home.get("/slow?s=0.05", x_envoy_upstream_rq_timeout_ms="1"))[0] == 200

    asyncio.run(run())


def test_unknown_host_and_no_healthy_instance_are_plain_sentences() -> None:
    async def run() -> None:
        async with balancer() as home:
            (app,) = await apps_of("1")
            await home.put(Pool("e-1", (HOST,), endpoints([app]), QUICK))
            status, headers, body = await home.get(host="shop.localhost:99")
            assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
            assert b"no environment has the Host shop.localhost:99" in body
            assert f"http://CNAME-PREFIX.localhost:{home.port}/".encode() in body
            app.healthy = False
            await home.until("e-1", *endpoints([app]), healthy=False)
            status, _, body = await home.get()
            assert status == 503
            assert body == b"503: no instance of a.localhost is healthy at the moment. Please try again.\n"
            app.healthy = True
            await home.until("e-1", *endpoints([app]), healthy=True)
            assert (await home.get())[0] == 200

    asyncio.run(run())


def test_a_health_check_may_take_longer_than_connections_are_kept() -> None:
    async def run() -> None:
        async with balancer() as home:
            (app,) = await apps_of("1")
            slow = replace(QUICK, path="/slow?s=1.2", timeout=3.0)
            await home.put(Pool("e-1", (HOST,), endpoints([app]), slow))
            await home.until("e-1", *endpoints([app]), healthy=True)

    asyncio.run(run())


def test_tcp_check_takes_any_listener() -> None:
    async def run() -> None:
        async with balancer() as home:
            (app,) = await apps_of("1")
            app.healthy = False
            nobody = Endpoint("127.0.0.1", 1)
            await home.put(Pool("e-1", (HOST,), (*endpoints([app]), nobody), replace(QUICK, path=None)))
            await home.until("e-1", *endpoints([app]), healthy=True)
            await home.until("e-1", nobody, healthy=False)

    asyncio.run(run())
