"""The proxies of servers behind the one in front of them: what one cannot bring to its application goes to another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from balancer_home import QUICK, BalancerHome, Endpoint, Pool, balancer, endpoints, until
from echo_app import EchoApp

from beanpole.balancer.pool import Edge, readiness_path
from load import Load, Settings

pytestmark = pytest.mark.slow

HOST = "a.localhost"
READY = replace(QUICK, path=readiness_path("e-1"))


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
        await front.put(Pool("e-1", (HOST,), tuple(each.endpoint for each in found), READY, proxies=True))
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
                Pool("e-1", (HOST,), (one.endpoint, two.endpoint), replace(READY, interval=60.0), proxies=True)
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


async def _is(status: object, wanted: int) -> bool:
    return await status == wanted  # type: ignore[misc, no-any-return]
