"""The proxies of servers behind the one in front of them: what one cannot bring to its application goes to another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from balancer_home import QUICK, BalancerHome, Endpoint, Pool, balancer, endpoints, until
from echo_app import EchoApp

from beanpole.balancer.pool import PRESENCE, Edge, presence_path, readiness_path
from load import Load, Settings

pytestmark = pytest.mark.slow

HOST = "a.localhost"
PRESENT = replace(PRESENCE, path=presence_path("e-1"))


class Server:
    """A server: its proxy, and an application behind it."""

    def __init__(self, home: BalancerHome, app: EchoApp) -> None:
        self.home = home
        self.app = app
        self.pool = Pool("e-1", (HOST,), endpoints([app]), QUICK, readiness="ready")
        self.endpoint = Endpoint("127.0.0.1", home.port)


@asynccontextmanager
async def servers(*versions: str) -> AsyncIterator[tuple[BalancerHome, list[Server]]]:
    """The balancer in front, which finds all of them healthy, and the servers."""
    async with AsyncExitStack() as stack:
        found = []
        for version in versions:
            home = await stack.enter_async_context(balancer(with_envoy=False))
            home.edge = Edge(port=home.port, trusted_proxies=1, inner=True)
            await home.envoy()
            server = Server(home, await EchoApp(version).start())
            await home.put(server.pool)
            found.append(server)
        front = await stack.enter_async_context(balancer())
        await front.put(Pool("e-1", (HOST,), tuple(each.endpoint for each in found), PRESENT, proxies=True))
        for each in found:
            await front.until("e-1", each.endpoint, healthy=True)
        yield front, found


async def post(front: BalancerHome) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    try:
        writer.write(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode())
        async with asyncio.timeout(10):
            return int((await reader.readuntil(b"\r\n")).split(b" ")[1])
    finally:
        writer.close()


def test_an_application_that_is_killed_costs_no_get() -> None:
    async def run() -> None:
        async with servers("1", "2", "3") as (front, (one, two, _)):
            async with Load(Settings(port=front.port, host=HOST, rate=200, path="/slow?s=0.02")) as load:
                for server in (one, two):
                    server.app.kill()
                    await front.until("e-1", server.endpoint, healthy=False)
            report = load.report()
            assert report.failed == 0, (report.kinds, report.failures[:5])

    asyncio.run(run())


def test_a_post_goes_elsewhere_when_the_application_never_had_it() -> None:
    async def run() -> None:
        async with servers("1", "2") as (front, (one, two)):
            await front.put(
                # Nobody in front notices in time that the application of the first one is gone.
                Pool("e-1", (HOST,), (one.endpoint, two.endpoint), replace(PRESENT, interval=60.0), proxies=True)
            )
            one.app.kill()
            await one.home.until("e-1", *endpoints([one.app]), healthy=False)
            assert [await post(front) for _ in range(6)] == [200] * 6
            assert two.app.requests == 6

    asyncio.run(run())


def test_readiness_is_the_applications_own_health_until_the_server_leaves() -> None:
    async def run() -> None:
        async with servers("1") as (_, (server,)):
            path = readiness_path("e-1")

            async def ready(host: str = "10.0.0.1") -> int:
                return (await server.home.get(path, host=host))[0]

            assert await ready() == 200
            assert server.app.requests == 0
            assert (await ready(HOST), server.app.requests) == (200, 1), "an environment's own names are all its own"
            server.app.healthy = False
            await until(lambda: _is(ready(), 503))  # nobody is left behind this proxy
            server.app.healthy = True
            await until(lambda: _is(ready(), 200))
            await server.home.put(replace(server.pool, readiness="leaving"))
            assert await ready() == 503
            assert (await server.home.get())[0] == 200, "who does not know yet is still served"
            await server.home.put(replace(server.pool, health=replace(QUICK, path=None), readiness="ready"))
            assert await ready() == 200
            await server.home.put(replace(server.pool, health=replace(QUICK, path=None), endpoints=()))
            assert await ready() == 503

    asyncio.run(run())


def test_what_a_server_boots_takes_over_when_the_next_release_is_gone() -> None:
    """As after a restart of the machine before the commit, with nobody to tell the proxy."""

    async def run() -> None:
        async with servers("old") as (front, (server,)):
            new, old = await EchoApp("new").start(), server.app
            (standby,) = endpoints([old], state="standby")
            async with Load(Settings(port=front.port, host=HOST, rate=100)) as load:
                await load.more(20)
                await server.home.put(replace(server.pool, endpoints=(*endpoints([new]), *endpoints([old]))))
                await server.home.until("e-1", *endpoints([new]), healthy=True)
                await server.home.put(replace(server.pool, endpoints=(*endpoints([new]), standby)))
                await server.home.until("e-1", standby, healthy=True, state="standby", active=0)
                before = old.requests
                await load.more(50)
            report = load.report()
            assert report.failed == 0, (report.kinds, report.failures[:5])
            assert (old.requests, new.requests >= 50) == (before, True)
            new.kill()
            await server.home.until("e-1", *endpoints([new]), healthy=False)
            assert [(await front.get())[0] for _ in range(4)] == [200] * 4
            assert old.requests == before + 4

    asyncio.run(run())


def test_a_server_that_says_it_leaves_loses_nothing() -> None:
    async def run() -> None:
        async with servers("1", "2") as (front, (one, _)):
            async with Load(Settings(port=front.port, host=HOST, rate=200, idle=3, post=0.2)) as load:
                await load.more(50)
                await one.home.put(replace(one.pool, readiness="leaving"))
                await front.until("e-1", one.endpoint, healthy=False)
                await one.home.until("e-1", *endpoints([one.app]), active=0)
                await one.app.stop()
                await load.more(50)
            report = load.report()
            assert report.failed == 0, (report.kinds, report.failures[:5])

    asyncio.run(run())


def test_the_application_hears_of_the_client_and_not_of_the_proxy_between() -> None:
    async def run() -> None:
        async with servers("1") as (front, _):
            _, _, body = await front.get(x_forwarded_for="9.9.9.9", x_forwarded_proto="https")
            heard = json.loads(body)["headers"]
            assert heard["x-forwarded-for"] == "9.9.9.9,127.0.0.1,127.0.0.1"
            assert heard["x-forwarded-proto"] == "http"

    asyncio.run(run())


@pytest.mark.long
def test_a_frozen_proxy_costs_no_get() -> None:
    """Its kernel goes on taking connections: only our pings and checks find out. What it sat on is asked elsewhere."""

    async def run() -> None:
        async with servers("1", "2", "3") as (front, (one, two, three)):
            settings = Settings(port=front.port, host=HOST, rate=50, path="/slow?s=0.1", timeout=10)
            async with Load(settings) as load, frozen(one.home, load):
                await load.more(20)
                await front.until("e-1", one.endpoint, healthy=False)
                late = asyncio.create_task(post(front))
                assert await late == 200
            report = load.report()
            assert report.failed == 0, (report.kinds, report.failures[:5])
            assert two.app.requests + three.app.requests >= report.sent - one.app.requests

    asyncio.run(run())


@pytest.mark.long
def test_a_post_on_a_frozen_server_is_told_and_not_repeated() -> None:
    async def run() -> None:
        async with servers("1", "2") as (front, (one, two)):
            await front.put(Pool("e-1", (HOST,), (one.endpoint,), PRESENT, proxies=True))
            async with frozen(one.home):
                waiting = asyncio.create_task(post(front))
                # The other one is there before it is given up, and gets nothing of it.
                await front.put(Pool("e-1", (HOST,), (one.endpoint, two.endpoint), PRESENT, proxies=True))
                assert await waiting == 503
            assert two.app.requests == 0

    asyncio.run(run())


@pytest.mark.long
def test_websockets_and_long_requests_pass_both_rows() -> None:
    """Longer than anything that finds a frozen server."""

    async def run() -> None:
        async with servers("1") as (front, _):
            settings = Settings(
                port=front.port,
                host=HOST,
                rate=20,
                websocket="/ws",
                slow_every=1.0,
                slow_seconds=7,
                slow_path="/slow?s=7",
            )
            async with Load(settings) as load:
                await load.more(170)
            report = load.report()
            assert (report.failed, report.statuses.get("101")) == (0, 1), (report.kinds, report.failures[:5])
            assert report.echoes > 50

    asyncio.run(run())


@pytest.mark.long
def test_a_slow_application_is_no_reason_to_leave_its_server_and_one_that_is_gone_is() -> None:
    async def run() -> None:
        async with servers("1") as (front, (server,)):
            server.app.delay = 1.5  # longer than the one in front waits, and less than the application's own time-out
            await server.home.put(replace(server.pool, health=replace(QUICK, timeout=5.0)))
            for _ in range(4):
                path = presence_path("e-1")
                assert (await server.home.get(path, host="x"))[0] == 504
            assert (await front.endpoints("e-1"))[server.endpoint.key]["healthy"]
            server.app.kill()
            await front.until("e-1", server.endpoint, healthy=False)
            status, headers, body = await front.get()
            assert (status, body.partition(b":")[0]) == (503, b"503")
            assert not [name for name in headers if name.startswith(("x-beanpole", "x-envoy"))]

    asyncio.run(run())


def test_a_server_that_does_not_have_the_environment_gets_nothing_of_it() -> None:
    """Though an application there answers at every path."""

    async def run() -> None:
        async with servers("1", "2") as (front, (one, two)):
            alone = replace(two.pool, name="e-2", hosts=("b.localhost", "*"))
            await two.home.put(alone)
            await front.until("e-1", two.endpoint, healthy=False)
            assert (await two.home.get("/anything", host="c.localhost"))[0] == 200
            before = two.app.requests
            assert [(await front.get())[0] for _ in range(6)] == [200] * 6
            assert (one.app.requests, two.app.requests) == (6, before)

    asyncio.run(run())


@asynccontextmanager
async def frozen(home: BalancerHome, load: Load | None = None) -> AsyncIterator[None]:
    """Its Envoy does nothing inside of the block, and with a load for longer than any of its requests may take."""
    pid = (await home.ask("GET", "/envoy"))["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        if load is not None:
            await load.more(int(load.settings.rate * (load.settings.timeout + 1)))
    finally:
        os.kill(pid, signal.SIGCONT)


async def _is(status: object, wanted: int) -> bool:
    return await status == wanted  # type: ignore[misc, no-any-return]


def test_when_no_server_answers_its_checks_requests_are_tried_all_the_same() -> None:
    """The one who asks may be too busy to hear answers: for all of them that would be an outage made by checks."""

    async def run() -> None:
        async with servers("1", "2") as (front, found):
            missed = replace(PRESENT, path=presence_path("e-9"))  # which no proxy has
            await front.put(Pool("e-1", (HOST,), tuple(each.endpoint for each in found), missed, proxies=True))
            for each in found:
                await front.until("e-1", each.endpoint, healthy=False)
            assert [(await front.get())[0] for _ in range(4)] == [200] * 4

    asyncio.run(run())
