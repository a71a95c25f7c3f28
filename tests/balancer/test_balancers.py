"""The edge and the servers' proxies as the control plane has them, with real agents and Envoys and a counted load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

import msgspec
import pytest
from balancer_home import until
from echo_app import EchoApp
from small_fleet import HOST, PATIENCE, SmallFleet, small_fleet

from beanpole.balancer.pool import Pin, readiness_path
from beanpole.fleet import addresses
from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.proxy import BalancerRefused
from beanpole.store import instances
from load import Load, Report, Settings

pytestmark = pytest.mark.slow

Names = dict[str, str]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The resolver's: others lead nowhere. No answer is kept."""
    found: Names = {}
    ask = socket.getaddrinfo

    def resolve(name: str, *rest: Any, **more: Any) -> Any:
        if name.endswith(".test") and name not in found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(found.get(name, name), *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(addresses, "FRESH", 0.0)
    monkeypatch.setattr(addresses, "FAILED", 0.0)
    return found


def load_on(fleet: SmallFleet, **more: Any) -> Load:
    return Load(Settings(port=fleet.port, host=HOST, rate=50, path="/slow?s=0.02", **more))


def assert_nothing_failed(report: Report) -> None:
    assert report.failed == 0, (report.kinds, report.failures[:5])


def test_rolling_over_three_servers_loses_nothing_and_leaves_the_edge_alone() -> None:
    async def run() -> None:
        async with small_fleet() as fleet:
            environment = fleet.environment()
            there = [fleet.instance(environment, host) for host in fleet.servers]
            old = [await fleet.serve(each, "1") for each in there]
            told = (await fleet.edge())["version"]
            load = load_on(
                fleet, idle=3, post=0.2, websocket="/ws", slow_every=0.5, slow_seconds=2, slow_path="/slow?s=2"
            )
            async with load:
                await load.more(50)
                for each in there:
                    await fleet.serve(each, "2")
                # The websocket is on an old release, and ends only with the load.
            for each, app in zip(there, old, strict=True):
                assert await fleet.leave(each, keep="2") == 0
                await app.stop()
            report = load.report()
            assert_nothing_failed(report)
            assert set(report.versions) == {"1", "2"}
            assert await fleet.get() == (200, "2")
            assert (await fleet.edge())["version"] == told

    asyncio.run(run())


def test_a_server_joins_and_another_one_leaves_and_nothing_is_lost() -> None:
    async def run() -> None:
        async with small_fleet() as fleet:
            environment = fleet.environment()
            first = fleet.instance(environment, "h-1")
            old = await fleet.serve(first, "1")
            async with load_on(fleet, post=0.2, idle=3, slow_every=0.5, slow_seconds=1, slow_path="/slow?s=1") as load:
                await load.more(50)
                for host in ("h-2", "h-3"):
                    await fleet.serve(fleet.instance(environment, host), "2")
                await fleet.terminate(first)
                await old.stop()
                await load.more(100)
            assert_nothing_failed(load.report())
            keys = (await fleet.edge())["pools"][environment]
            assert set(keys) == {fleet.servers["h-2"].key, fleet.servers["h-3"].key}
            # Nothing is there any more, and its proxy knows it.
            gone = fleet.servers["h-1"]
            await until(lambda: _is(fleet.get(port=gone.port), 404))

    asyncio.run(run())


@pytest.mark.long
def test_a_second_instance_on_each_server_gets_its_part_through_both_rows_and_testers_find_it() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            old = [fleet.instance(environment, host) for host in fleet.servers]
            for each in old:
                await fleet.serve(each, "1")
            new = [fleet.instance(environment, host) for host in fleet.servers]
            apps = [await EchoApp("2").start() for _ in new]
            rows = [fleet.row(each, "2", app.port, weight=0) for each, app in zip(new, apps, strict=True)]
            for each, endpoint in zip(new, rows, strict=True):
                await fleet.balancers.apply(each)
                assert await fleet.balancers.healthy(environment, endpoint, PATIENCE)
            assert {(await fleet.get())[1] for _ in range(20)} == {"1"}

            with fleet.database.write() as db:
                instances.pin(db, new, msgspec.json.encode(Pin(("X-Canary", "yes"))).decode())
            await fleet.balancers.apply()

            async def warm() -> bool:
                views = await fleet.balancers.canary(environment)
                return len(views) == 3 and all(
                    view and all(each["healthy"] for each in view.values()) for view in views
                )

            await until(warm)
            assert (await fleet.get(header="X-Canary: yes"))[1] == "1", "there is no route to it yet"
            with fleet.database.write() as db:
                instances.share(db, dict.fromkeys(old, 3) | dict.fromkeys(new, 1))
            await fleet.balancers.apply()
            await fleet.balancers.settle(PATIENCE)
            answers = [await fleet.get() for _ in range(400)]
            assert {status for status, _ in answers} == {200}
            # 100 are expected. Each worker of each row keeps a round of its own.
            assert 60 <= sum(version == "2" for _, version in answers) <= 140
            assert {await fleet.get(header="X-Canary: yes") for _ in range(20)} == {(200, "2")}

            async with load_on(fleet, idle=2, slow_every=0.5, slow_seconds=1, slow_path="/slow?s=1") as load:
                await load.more(20)
                with fleet.database.write() as db:
                    instances.share(db, dict.fromkeys(old, 0) | dict.fromkeys(new, 1))
                await fleet.balancers.apply()
                await fleet.balancers.settle(PATIENCE)
                await load.more(20)
                assert {(await fleet.get())[1] for _ in range(20)} == {"2"}
                for each in old:
                    await fleet.terminate(each)
                with fleet.database.write() as db:
                    instances.pin(db, new, None)
                await fleet.balancers.apply()
                await load.more(20)
            assert_nothing_failed(load.report())
            for app in apps:
                await app.stop()

    asyncio.run(run())


@pytest.mark.long
def test_a_proxy_that_dies_costs_no_get_and_comes_back() -> None:
    async def run() -> None:
        async with small_fleet() as fleet:
            environment = fleet.environment()
            for host in fleet.servers:
                await fleet.serve(fleet.instance(environment, host), host)
            server = fleet.servers["h-1"]
            async with load_on(fleet) as load:
                await load.more(50)
                before = await server.pid()
                os.kill(before, signal.SIGKILL)
                await load.more(200)
                await until(lambda: _differs(server.pid(), before))
                await fleet.until_edge(environment, server.key, healthy=True)
                await load.more(50)
            assert_nothing_failed(load.report())

    asyncio.run(run())


@pytest.mark.long
def test_an_agent_of_a_proxy_that_dies_is_noticed_by_nobody() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            there = [fleet.instance(environment, host) for host in fleet.servers]
            for each in there:
                await fleet.serve(each, "1")
            async with load_on(fleet, post=0.2) as load:
                await load.more(50)
                pid = await fleet.servers["h-1"].pid()
                await fleet.servers["h-1"].kill_agent()
                await load.more(50)
                await fleet.serve(there[0], "2")
                await load.more(50)
            assert_nothing_failed(load.report())
            assert await fleet.servers["h-1"].pid() == pid

    asyncio.run(run())


@pytest.mark.long
def test_one_server_that_cannot_be_reached_holds_up_nobody_else_and_is_told_later() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment, other = fleet.environment(), fleet.environment("b")
            cut, free, here = fleet.instance(environment, "h-1"), fleet.instance(other, "h-2"), fleet.instance(other)
            await fleet.serve(cut, "1")
            await fleet.serve(free, "1")
            server = fleet.servers["h-1"]
            server.cut = True
            told = await server.told()
            fleet.row(cut, "2", 1)
            with pytest.raises(AgentUnreachable, match="h-1 is cut off"):
                await fleet.balancers.apply(cut)
            await fleet.serve(free, "2")  # others hear nothing of it
            await fleet.balancers.apply(here)
            assert await fleet.get() == (200, "1"), "requests go on"
            assert (await server.told(), await fleet.get("b.localhost")) == (told, (200, "2"))
            unknown = (await fleet.balancers.view())[environment]
            assert {seen["healthy"] for seen in unknown.values()} == {None}
            server.cut = False
            await fleet.balancers.keep_alive()
            await until(lambda: _differs(server.told(), told))
            assert {seen["healthy"] for seen in (await fleet.balancers.view())[environment].values()} != {None}

    asyncio.run(run())


@pytest.mark.long
def test_a_port_that_is_taken_on_a_server_is_told_to_those_whom_it_concerns() -> None:
    async def run() -> None:
        async with small_fleet(1) as fleet:
            environment, server = fleet.environment(), fleet.servers["h-1"]
            taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", server.port)
            instance = fleet.instance(environment, "h-1")
            cause = f"the proxy of h-1: port {server.port} on 0.0.0.0 is taken by process .* Stop it there, or choose"
            with pytest.raises(BalancerRefused, match=cause):
                await fleet.balancers.apply(instance)
            await fleet.balancers.apply()
            taken.close()
            await fleet.serve(instance, "1")
            assert await fleet.get() == (200, "1")

    asyncio.run(run())


@pytest.mark.long
def test_only_those_are_told_for_whom_something_changed_also_after_a_restart() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            there = [fleet.instance(environment, host) for host in fleet.servers]
            for each in there:
                await fleet.serve(each, "1")
            one, two = fleet.servers.values()
            before = (await two.told(), (await fleet.edge())["version"])
            await fleet.serve(there[0], "2")
            assert (await two.told(), (await fleet.edge())["version"]) == before
            # A restored backup counts from where it was.
            with fleet.database.write() as db:
                db.exec_driver_sql("UPDATE fact SET value = '1' WHERE name = 'counter:snapshot'")
            fleet.balancers = fleet.control_plane()
            await fleet.balancers.start()
            newest = await one.told()
            await fleet.serve(there[0], "3")
            assert await one.told() > newest
            assert {version for _, version in [await fleet.get() for _ in range(8)]} == {"1", "3"}

    asyncio.run(run())


@pytest.mark.long
def test_a_server_that_was_made_anew_is_told_everything_again() -> None:
    async def run() -> None:
        async with small_fleet(1) as fleet:
            environment = fleet.environment()
            await fleet.serve(fleet.instance(environment, "h-1"), "1")
            server = fleet.servers["h-1"]
            await server.agent.end(0)
            for name in ("envoy.json", "snapshot.json", "agent.json"):
                (server.agent.home / name).unlink(missing_ok=True)
            server.agent = type(server.agent)(server.agent.home, fleet.program, "store-1", "balancer")

            async def back() -> bool:
                await fleet.balancers.view()
                await fleet.balancers.keep_alive()
                return (await fleet.get())[0] == 200

            await until(back)

    asyncio.run(run())


def test_the_first_environment_of_a_server_gets_every_host_that_is_nobodys() -> None:
    async def run() -> None:
        async with small_fleet(1) as fleet:
            server = fleet.servers["h-1"]
            await fleet.serve(fleet.instance(fleet.environment(), "h-1"), "1")
            assert await fleet.get("www.example.com", server.port) == (200, "1")
            await fleet.serve(fleet.instance(fleet.environment("b"), "h-1"), "2")
            assert await fleet.get("www.example.com", server.port) == (200, "1")
            for port in (server.port, fleet.port):
                assert await fleet.get("a.localhost", port) == (200, "1")
                assert await fleet.get("b.localhost", port) == (200, "2")

    asyncio.run(run())


@pytest.mark.long
def test_requests_are_counted_by_the_row_in_front_and_by_proxies_when_they_did_not_come_through_it() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            apps = {host: await fleet.serve(fleet.instance(environment, host), host) for host in fleet.servers}
            one, two = fleet.servers.values()
            for _ in range(4):
                assert (await fleet.get())[0] == 200
            for _ in range(3):
                assert (await fleet.get(port=one.port))[0] == 200
            # Repeated elsewhere: a failure at the server's endpoint, and none in total.
            apps["h-1"].kill()
            for _ in range(4):
                assert (await fleet.get())[0] == 200

            async def totals() -> bool:
                return await fleet.balancers.totals(environment) == {"requests": 11, "failed": 0}

            await until(totals)
            after = fleet.database.now_ms() // 1000 - 60

            async def seconds() -> dict[str, int] | None:
                found: dict[str, int] = {}
                for pools in (await fleet.balancers.requests(after))["seconds"].values():
                    for key, tally in pools.get(environment, {}).items():
                        found[key] = found.get(key, 0) + tally["2xx"]
                return found if sum(found.values()) == 11 else None

            found = await until(seconds)
            keys = {host: f"127.0.0.1:{app.port}" for host, app in apps.items()}
            assert {key for key, count in found.items() if count} == set(keys.values())
            assert found[keys["h-1"]] >= 3
            assert two.key not in found

    asyncio.run(run())


@pytest.mark.long
def test_a_release_on_a_new_server_is_healthy_when_the_edge_finds_the_server(names: Names) -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            await fleet.serve(fleet.instance(environment, "h-1"), "1")
            fleet.name("h-2", "web2.test")  # which leads nowhere
            second = fleet.instance(environment, "h-2")
            await fleet.serve(second, "1", found=False)
            endpoint = fleet.endpoints(second)[0]
            assert not await fleet.balancers.healthy(environment, endpoint, 1.0)
            # Of an environment of which the edge finds no server at all, the proxy alone decides.
            await fleet.serve(fleet.instance(fleet.environment("b"), "h-2"), "1")
            names["web2.test"] = fleet.servers["h-2"].address
            await fleet.balancers.keep_alive()
            assert await fleet.balancers.healthy(environment, endpoint, 20.0)

    asyncio.run(run())


@pytest.mark.long
def test_the_edge_follows_a_server_whose_name_moves(names: Names) -> None:
    async def run() -> None:
        async with small_fleet(1) as fleet:
            environment, server = fleet.environment(), fleet.servers["h-1"]
            fleet.name("h-1", "web1.test")
            names["web1.test"] = server.address
            await fleet.serve(fleet.instance(environment, "h-1"), "1")
            names["web1.test"] = "127.9.0.77"
            await fleet.balancers.keep_alive()
            await fleet.until_edge(environment, f"127.9.0.77:{server.port}", healthy=True)
            names.clear()  # the resolver is away, which changes nothing
            await fleet.balancers.keep_alive()
            assert set((await fleet.edge())["pools"][environment]) == {f"127.9.0.77:{server.port}"}
            assert await fleet.get() == (200, "1")

    asyncio.run(run())


@pytest.mark.long
def test_a_server_may_have_an_ipv6_address() -> None:
    async def run() -> None:
        async with small_fleet(1) as fleet:
            environment, server = fleet.environment(), fleet.servers["h-1"]
            fleet.name("h-1", "0::1")
            await fleet.serve(fleet.instance(environment, "h-1"), "1")
            await fleet.until_edge(environment, f"[::1]:{server.port}", healthy=True)
            assert await fleet.get() == (200, "1")
            assert await fleet.get(port=server.port) == (200, "1"), "by the other family, too"

    asyncio.run(run())


@pytest.mark.long
def test_balancers_of_others_have_the_time_to_hear_that_a_server_leaves() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            there = [fleet.instance(environment, host) for host in fleet.servers]
            for each in there:
                await fleet.serve(each, "1")
            one, two = fleet.servers.values()
            assert (await fleet.get(port=one.port))[0] == 200
            await until(lambda: _counted(fleet, environment))
            leaving = asyncio.create_task(fleet.leave(there[0], seconds=3.0))
            for _ in range(50):
                assert await fleet.get("www.example.com", one.port) == (200, "1")
            assert not leaving.done()
            assert await leaving == 0
            assert await fleet.leave(there[1], seconds=3600.0) == 0, "nobody else sends to this one"
            assert two.key not in (await fleet.edge())["pools"][environment]

    asyncio.run(run())


@pytest.mark.long
def test_readiness_says_that_the_server_leaves_as_long_as_requests_end() -> None:
    async def run() -> None:
        async with small_fleet(2) as fleet:
            environment = fleet.environment()
            there = [fleet.instance(environment, host) for host in fleet.servers]
            for each in there:
                await fleet.serve(each, "1")
            server = fleet.servers["h-1"]

            async def ready() -> int:
                reader, writer = await asyncio.open_connection(server.address, server.port)
                path = readiness_path(environment)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                status = int((await reader.readline()).split(b" ")[1])
                writer.close()
                return status

            assert await ready() == 200
            async with load_on(fleet, slow_every=0.2, slow_seconds=2, slow_path="/slow?s=2") as load:
                await load.more(50)
                leaving = asyncio.create_task(fleet.leave(there[0]))
                await until(lambda: _equals(ready(), 503))
                assert not leaving.done(), "it waits for the slow ones"
                assert await leaving == 0
            assert_nothing_failed(load.report())

    asyncio.run(run())


async def _counted(fleet: SmallFleet, environment: str) -> bool:
    return (await fleet.balancers.totals(environment))["requests"] > 0


async def _is(answer: Any, status: int) -> bool:
    return bool((await answer)[0] == status)


async def _equals(value: Any, wanted: object) -> bool:
    return bool(await value == wanted)


async def _differs(value: Any, from_: object) -> bool:
    return bool(await value != from_)


def test_a_server_whose_last_instance_went_unheard_serves_nothing_after_a_restart() -> None:
    async def run() -> None:
        async with small_fleet(1) as fleet:
            (server,) = fleet.servers.values()
            instance = fleet.instance(fleet.environment(), server.id)
            app = await fleet.serve(instance, "1")
            server.cut = True
            with fleet.database.write() as db:
                instances.remove(db, instance)
            await fleet.balancers.apply()
            fleet.balancers = fleet.control_plane()
            await fleet.balancers.start()
            server.cut = False
            await fleet.balancers.keep_alive()
            assert await fleet.get(port=server.port) == (200, "1"), "nobody has said otherwise"

            await fleet.balancers.attend(server.id)
            await fleet.balancers.settle(PATIENCE)
            assert (await fleet.get(port=server.port))[0] == 404
            await app.stop()

    asyncio.run(run())
