"""Static files at the balancer: which of a pool's requests go to file servers, and that none is lost. Real Envoy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from balancer_home import QUICK, BalancerHome, Endpoint, Pool, balancer, endpoints, free_port, until
from echo_app import EchoApp

from beanpole.agent.static_server import StaticServer
from beanpole.balancer.lint import lint
from beanpole.balancer.pool import Files
from beanpole.balancer.rows import Seat, Server, Site, rows
from beanpole.balancer.snapshot import snapshot
from load import Load, Settings

HOST = "a.localhost"
SEAT = Seat("i-1", "127.0.0.1", 1, "serving", QUICK)


def files(port: int, *paths: str) -> Files:
    return Files(Endpoint("127.0.0.1", port), paths)


@asynccontextmanager
async def served(folder: Path, text: str, *paths: str) -> AsyncIterator[Files]:
    """A file server with one file, `name`, for these paths."""
    (folder / text).mkdir()
    (folder / text / "name").write_text(text)
    over, port = asyncio.Event(), free_port()
    server = StaticServer(str(folder), dict.fromkeys(paths, text))
    task = asyncio.create_task(server.serve("127.0.0.1", port, over))
    try:
        yield files(port, *paths)
    finally:
        over.set()
        await task


async def body(home: BalancerHome, path: str, **headers: str) -> tuple[int, str]:
    status, _, said = await home.get(path, HOST, **headers)
    return status, said.decode().strip()


async def from_app(home: BalancerHome, path: str) -> bool:
    return '"app"' in (await body(home, path))[1]


@pytest.mark.pure
def test_without_files_nothing_is_told_of_them() -> None:
    pool = Pool("e-1", (HOST,), (Endpoint("127.0.0.1", 1),))
    assert "files" not in json.dumps(snapshot([pool], 1).files)


@pytest.mark.pure
def test_file_servers_are_where_the_releases_are_and_in_their_state() -> None:
    old = replace(SEAT, state="draining", files=files(11, "/old", "/static"))
    new = replace(SEAT, port=2, files=files(12, "/static"))
    (pool,) = rows([Site("e-1", (HOST,), (old, new))], {}).edge
    assert [(each.endpoint.port, each.endpoint.state) for each in pool.files] == [(11, "draining"), (12, "serving")]
    assert pool.paths == ("/static",)

    seats = tuple(replace(seat, host="h-1") for seat in (old, new))
    told = rows([Site("e-1", (HOST,), seats, frozenset(["h-1"]))], {"h-1": Server("10.0.0.1", 80)})
    assert told.edge[0].files == ()
    assert told.servers["h-1"][0].files == pool.files


@pytest.mark.pure
def test_files_of_what_a_server_boots_stand_by_as_their_application_does() -> None:
    old = replace(SEAT, state="draining", boots=True, host="h-1", files=files(11, "/static"))
    new = replace(SEAT, port=2, host="h-1", files=files(12, "/static"))
    told = rows([Site("e-1", (HOST,), (old, new), frozenset(["h-1"]))], {"h-1": Server("10.0.0.1", 80)})
    (pool,) = told.servers["h-1"]
    assert [each.endpoint.state for each in pool.files] == ["standby", "serving"]
    assert [each.state for each in pool.endpoints] == ["standby", "serving"]


@pytest.mark.pure
def test_paths_that_envoy_refuses_are_found_before() -> None:
    pool = Pool("e-1", (HOST,), (), files=(files(1, "/", "/a/b", "/.well-known"),))
    assert lint([pool]) == ()
    for path in ("", "a", "/a/", "//a", "/a?b", "/a#b", "/a%20", "/a b"):
        assert len(lint([replace(pool, files=(files(1, path),))])) == 1, path
    assert lint([replace(pool, endpoints=(Endpoint("127.0.0.1", 1),))])
    assert lint([Pool("e-1.files", (), ())])


def test_requests_below_a_path_go_to_who_has_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            balancer() as home,
            served(tmp_path, "one", "/static", "/only") as one,
            served(tmp_path, "two", "/static", "/static/deep") as two,
        ):
            app = await EchoApp("app").start()
            pool = Pool("e-1", (HOST,), endpoints([app]), QUICK)
            await home.put(pool)
            (endpoint,) = pool.endpoints
            await home.until("e-1", endpoint, healthy=True)
            assert await from_app(home, "/static/name")

            await home.put(replace(pool, files=(one, two)))
            assert {await body(home, "/static/name?v=1") for _ in range(20)} == {(200, "one"), (200, "two")}
            assert {await body(home, "/only/name") for _ in range(20)} == {(200, "one")}
            assert {await body(home, "/static/deep/name") for _ in range(20)} == {(200, "two")}
            assert (await body(home, "/static/none"))[0] == 404
            assert (await body(home, "/static/../secret"))[0] == 404
            for path in ("/staticx", "/version", "/"):
                assert await from_app(home, path)

            # A release that drains gets no request, and what only it had is the application's again.
            gone = replace(one, endpoint=replace(one.endpoint, state="draining"))
            await home.put(replace(pool, files=(gone, two)))
            assert {await body(home, "/static/name") for _ in range(20)} == {(200, "two")}
            assert await from_app(home, "/only/name")
            assert (await home.endpoints("e-1.files"))[one.endpoint.key]["state"] == "draining"

            async def counted() -> bool:
                seconds = (await home.ask("GET", "/requests"))["seconds"]
                return any(two.endpoint.key in pools.get("e-1", {}) for pools in seconds.values())

            await until(counted)
            assert set((await home.ask("GET", "/requests"))["totals"]) == {"e-1"}
            await app.stop()

    asyncio.run(run())


def test_a_file_server_that_is_gone_costs_no_request_where_there_is_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with balancer() as home, served(tmp_path, "one", "/static") as one:
            app = await EchoApp("app").start()
            pool = Pool("e-1", (HOST,), endpoints([app]), QUICK, files=(one, files(free_port(), "/static")))
            await home.put(pool)
            assert {await body(home, "/static/name") for _ in range(20)} == {(200, "one")}
            await app.stop()
            # As behind any server of files: it needs no application.
            assert await body(home, "/static/name") == (200, "one")

    asyncio.run(run())


def test_a_file_server_that_stands_by_is_asked_only_while_the_others_are_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with balancer() as home, served(tmp_path, "old", "/static") as old:
            app = await EchoApp("app").start()
            waits = replace(old, endpoint=replace(old.endpoint, state="standby"))
            gone = files(free_port(), "/static")
            pool = Pool("e-1", (HOST,), endpoints([app]), QUICK, files=(waits, gone))
            async with served(tmp_path, "new", "/static") as new:
                await home.put(replace(pool, files=(waits, new)))
                assert {await body(home, "/static/name") for _ in range(20)} == {(200, "new")}
            assert {await body(home, "/static/name") for _ in range(20)} == {(200, "old")}
            await home.put(pool)
            assert {await body(home, "/static/name") for _ in range(20)} == {(200, "old")}
            assert (await home.endpoints("e-1.files"))[waits.endpoint.key]["state"] == "standby"
            await app.stop()

    asyncio.run(run())


@pytest.mark.slow
def test_a_change_of_release_loses_no_request_for_a_file(tmp_path: Path) -> None:
    async def run() -> None:
        async with balancer() as home:
            app = await EchoApp("app").start()
            pool = Pool("e-1", (HOST,), endpoints([app]), QUICK)
            settings = Settings(port=home.port, host=HOST, rate=200, idle=5, path="/static/name")
            async with served(tmp_path, "r0", "/static") as old:
                await home.put(replace(pool, files=(old,)))
                async with Load(settings) as load:
                    for number in range(1, 4):
                        async with served(tmp_path, f"r{number}", "/static") as new:
                            await home.put(replace(pool, files=(old, new)))
                            gone = replace(old, endpoint=replace(old.endpoint, state="draining"))
                            await home.put(replace(pool, files=(gone, new)))
                            await home.until("e-1.files", old.endpoint, active=0)
                            await load.more(50)
                            await home.put(replace(pool, files=(old,)))
                            gone = replace(new, endpoint=replace(new.endpoint, state="draining"))
                            await home.put(replace(pool, files=(old, gone)))
                            await home.until("e-1.files", new.endpoint, active=0)
                report = load.report()
                assert report.failed == 0, (report.kinds, report.failures[:5])
                assert report.sent > 150
            await app.stop()

    asyncio.run(run())
