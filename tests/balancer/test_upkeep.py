"""Envoy stays up: killed, orphaned, replaced, told nonsense. Real Envoy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from balancer_home import (
    BINARY,
    QUICK,
    STORE,
    BalancerHome,
    Edge,
    Endpoint,
    Pool,
    Refused,
    balancer,
    balancer_of_an_agent,
    endpoints,
    free_port,
    until,
)
from echo_app import EchoApp

from beanpole.agent import keeper
from beanpole.balancer.bootstrap import bootstrap
from beanpole.balancer.snapshot import snapshot
from load import Load, Settings

pytestmark = pytest.mark.slow

HOST = "a.localhost"


async def served(home: BalancerHome, version: str = "1") -> tuple[EchoApp, Pool]:
    app = await EchoApp(version).start()
    pool = Pool("e-1", (HOST,), endpoints([app]), QUICK)
    await home.put(pool)
    return app, pool


async def pid_of(home: BalancerHome) -> int:
    return int((await home.ask("GET", "/envoy"))["pid"])


def test_a_killed_envoy_is_started_again_and_the_gap_is_told() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            before = await pid_of(home)
            # What is left of connections must not keep the next process from the port.
            async with Load(Settings(port=home.port, host=HOST, rate=1, idle=5, websocket="/ws")):
                os.kill(before, signal.SIGKILL)
                (event,) = await until(lambda: home.events.after(0))
            assert event["severity"] == "ERROR"
            assert event["message"].startswith("Envoy ended (signal SIGKILL) and was started again; no connection")
            assert event["detail"]["pid"] == before
            assert 0 < event["detail"]["gap_ms"] < 10_000
            assert event["detail"]["new_pid"] == await pid_of(home) != before
            assert (await home.get())[0] == 200

    asyncio.run(run())


def test_an_envoy_that_dies_again_and_again_is_started_less_often() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            for deaths in range(1, 7):
                os.kill(await pid_of(home), signal.SIGKILL)
                await until(lambda deaths=deaths: len(home.events.after(0)) >= deaths)
            assert home.messages()[-1] == "Envoy ended 6 times within a minute; next start in 1 s"
            await until(lambda: len(home.events.after(0)) == 7)
            assert (await home.get())[0] == 200

    asyncio.run(run())


def test_a_killed_agent_interrupts_nothing_and_its_envoy_is_adopted() -> None:
    async def run() -> None:
        async with balancer_of_an_agent() as home:
            app, _ = await served(home)
            envoy_pid = await pid_of(home)
            async with Load(Settings(port=home.port, host=HOST, rate=100)) as load:
                await home.kill_agent()
                await load.more(20)
                await home.start_agent()
                assert await pid_of(home) == envoy_pid
                assert (await home.envoy())["outcome"] == "running"
                # It can be told something, and is watched.
                other = await EchoApp("2").start()
                await home.put(Pool("e-1", (HOST,), endpoints([app, other]), QUICK))
                await home.until("e-1", *endpoints([other]), healthy=True)
            assert load.report().failed == 0
            assert await home.messages_of_agent() == []
            os.kill(envoy_pid, signal.SIGKILL)
            (message,) = await until(home.messages_of_agent)
            assert message.startswith("Envoy ended (unknown) and was started again")
            assert (await home.get())[0] == 200
            hello = await home.ask("GET", "/hello")
            assert (hello["role"], hello["store"]) == ("balancer", STORE)
            with pytest.raises(Refused, match="other store"):
                await home.ask("PUT", "/snapshot", {"store": "store-2"})

    asyncio.run(run())


def test_envoy_starts_with_the_agent_when_both_were_gone() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            await home.role.stop(processes=True, grace=30.0)
            home.role = home.agent()
            await home.role.start()
            await home.until_live()
            assert (await home.get())[0] == 200
            (message,) = await until(home.messages)
            assert message.startswith("Envoy was not running when the agent started, and was started again; no conn")

    asyncio.run(run())


def test_a_port_that_somebody_took_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PAUSE_LIMIT", 0.2)

    async def run() -> None:
        async with balancer() as home:
            await served(home)
            await home.role.stop(processes=True, grace=30.0)
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind(("127.0.0.1", home.port))
                other.listen()
                home.role = home.agent()
                await home.role.start()
                message = (await until(home.messages))[0]
                assert message.startswith(f"Envoy cannot be started: port {home.port} on 127.0.0.1 is taken by process")
            await home.until_live()
            assert (await home.get())[0] == 200

    asyncio.run(run())


def test_replaced_under_load_without_loss() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            before = await pid_of(home)
            settings = Settings(
                port=home.port, host=HOST, rate=200, keep_alive=0.5, idle=3, websocket="/ws", slow_every=0.5
            )
            async with Load(settings) as load:
                replacing = asyncio.create_task(home.ask("POST", "/envoy/replace"))
                while not replacing.done():  # its view never has a hole
                    assert (await home.endpoints("e-1")).popitem()[1]["healthy"]
                    await asyncio.sleep(0.005)
                answer = await replacing
                assert answer["outcome"] == "replaced"
                assert answer["pid"] == await pid_of(home) != before
                assert answer["draining"] == [1]
                # Requests of both count; the websocket is still on the old one.
                assert (await home.endpoints("e-1")).popitem()[1]["active"] >= 1
                await load.more(900)  # beyond the moment when the old one closes its listener
                assert (await home.ask("GET", "/envoy"))["draining"] == [1]
            report = load.report()
            assert report.failed == 0, report.kinds
            assert report.echoes > 20
            await until(lambda: not (home.home / "envoy" / "1").exists())
            assert (await home.ask("GET", "/envoy"))["draining"] == []
            assert sorted(path.name for path in (home.home / "envoy").iterdir()) == ["2"]
            with pytest.raises(ProcessLookupError):
                os.kill(before, 0)

    asyncio.run(run())


def test_another_bootstrap_replaces_and_the_same_does_not() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            assert (await home.envoy())["outcome"] == "running"
            assert (await home.envoy(bootstrap=bootstrap("other")))["outcome"] == "replaced"
            assert (await home.get())[0] == 200

    asyncio.run(run())


def test_a_replacement_that_cannot_start_leaves_the_old_one_serving() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            before = await pid_of(home)
            with pytest.raises(Refused, match="Envoy ended at once") as refused:
                await home.envoy(bootstrap='{"nonsense": 1}')
            assert "nonsense" in " ".join(refused.value.more["last_lines"])
            assert await pid_of(home) == before
            assert (await home.get())[0] == 200
            os.kill(before, signal.SIGKILL)  # and it is still looked after, with the old bootstrap
            await until(lambda: home.events.after(0))
            assert (await home.get())[0] == 200

    asyncio.run(run())


def refused_files(good: dict[str, str], name: str, change: Callable[[Any], None], version: str) -> list[list[str]]:
    content = json.loads(good[name])
    change(content["resources"][0])
    content["version_info"] = version
    return [[other, json.dumps(content) if other == name else text] for other, text in good.items()]


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        (
            "eds/e-1.json",
            lambda one: one["endpoints"][0].update(lb_endpoints=[{"endpoint": {"address": {}}}]),
            "Address",
        ),
        ("cds.json", lambda one: one.update(connect_timeout="-1s"), "Invalid duration"),
        ("rds.json", lambda one: one["virtual_hosts"].append({**one["virtual_hosts"][0]}), "Only unique"),
        (
            "lds.json",
            lambda one: one.update(address={"socket_address": {"address": "x", "port_value": 1}}),
            "malformed",
        ),
    ],
)
def test_a_refused_snapshot_leaves_the_old_one_serving(name: str, change: Callable[[Any], None], why: str) -> None:
    async def run() -> None:
        async with balancer() as home:
            app, pool = await served(home)
            other = await EchoApp("2").start()
            # The rest of the refused snapshot would be fine, and must not stay either.
            wanted = [replace(pool, endpoints=endpoints([app, other])), Pool("e-2", (), endpoints([app]), QUICK)]
            files = refused_files(dict(snapshot(wanted, 2, home.edge).files), name, change, "bad")
            async with Load(Settings(port=home.port, host=HOST, rate=100)) as load:
                with pytest.raises(Refused, match=f"Envoy refused {name}: .*{why}") as refused:
                    await home.ask("PUT", "/snapshot", {"version": 2, "store": STORE, "files": files})
                assert refused.value.status == 409
                assert list((await home.ask("GET", "/endpoints"))["pools"]) == ["e-1"]
                assert list(await home.endpoints("e-1")) == [endpoints([app])[0].key]
            assert load.report().failed == 0
            # The disk has the old one, too: an Envoy that starts now serves it.
            os.kill(await pid_of(home), signal.SIGKILL)
            await until(lambda: home.events.after(0))
            assert json.loads((await home.get())[2])["version"] == "1"
            home.version = 1
            assert (await home.put(*wanted))["version"] == 2

    asyncio.run(run())


def test_snapshots_that_are_old_foreign_or_none() -> None:
    async def run() -> None:
        async with balancer() as home:
            _, pool = await served(home)
            good = snapshot([pool], 1, home.edge).request(STORE)
            assert (await home.ask("PUT", "/snapshot", good))["changed"] == []  # the same again
            for status, change, words in [
                (409, {"version": 0}, "snapshot 0 is not newer than 1"),
                (409, {"files": snapshot([], 1, home.edge).request(STORE)["files"]}, "snapshot 1 is not newer than 1"),
                (409, {"store": "store-2"}, "other store"),
                (400, {"version": 2, "files": good["files"][:-1]}, "has no lds.json"),
                (400, {"version": 2, "files": good["files"][1:]}, "no endpoints for its cluster e-1"),
                (400, {"version": 2, "files": [*good["files"], ["../x", "{}"]]}, "is not a file of a snapshot"),
                (
                    400,
                    {"version": 2, "files": [*good["files"], ["cds.json", "{"]]},
                    "cds.json is not a snapshot's file",
                ),
                (400, {"version": 2, "files": [["cds.json", 1]]}, r"list of \[name, text\]"),
            ]:
                with pytest.raises(Refused, match=words) as refused:
                    await home.ask("PUT", "/snapshot", {**good, **change})
                assert refused.value.status == status
            routed = dict(good["files"])
            routed["rds.json"] = routed["rds.json"].replace('"cluster":"e-1"', '"cluster":"e-9"')
            with pytest.raises(Refused, match="routes to unknown clusters: e-9"):
                await home.ask("PUT", "/snapshot", {**good, "version": 2, "files": list(map(list, routed.items()))})
            assert (await home.get())[0] == 200

    asyncio.run(run())


@pytest.mark.parametrize("alive", [True, False])
def test_a_snapshot_that_a_dead_agent_left_half_applied_is_undone(alive: bool) -> None:
    async def run() -> None:
        async with balancer() as home:
            app, pool = await served(home)
            await home.role.stop(processes=not alive, grace=30.0)
            other = await EchoApp("2").start()
            half = dict(
                snapshot([replace(pool, endpoints=endpoints([other])), Pool("e-2", (), ())], 2, home.edge).files
            )
            for name in ("eds/e-1.json", "eds/e-2.json", "cds.json"):
                draft = home.home / "xds" / ".draft"
                draft.write_text(half[name])
                draft.rename(home.home / "xds" / name)
            home.role = home.agent()
            await home.role.start()
            await home.until_live()
            await until(lambda: not (home.home / "xds" / "eds" / "e-2.json").exists())
            await home.until("e-1", *endpoints([app]), healthy=True)
            assert json.loads((await home.get())[2])["version"] == "1"
            assert list((await home.ask("GET", "/endpoints"))["pools"]) == ["e-1"]
            assert (await home.put(pool))["version"] == 2

    asyncio.run(run())


def test_a_taken_port_is_a_clear_error() -> None:
    async def run() -> None:
        async with balancer(with_envoy=False) as home:
            with socket.socket() as other:
                # As another Envoy would have it: sharing the port silently.
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                other.bind(("127.0.0.1", home.port))
                other.listen()
                with pytest.raises(
                    Refused, match=f"port {home.port} on 127.0.0.1 is taken by process {os.getpid()} "
                ) as refused:
                    await home.envoy()
            assert refused.value.more == {
                "address": "127.0.0.1", "port": home.port, "remedy": "Choose another one with --port."
            }  # fmt: skip
            with pytest.raises(Refused, match=r"192\.0\.2\.77 is not an address of this machine"):
                await home.envoy(listen={"address": "192.0.2.77", "port": home.port})
            with pytest.raises(Refused, match="no Envoy was asked for yet"):
                await home.put(Pool("e-1", (HOST,), ()))
            assert (await home.envoy())["outcome"] == "started"  # nothing was left half done

    asyncio.run(run())


def test_another_port_later() -> None:
    async def run() -> None:
        async with balancer() as home:
            _, pool = await served(home)
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                taken = other.getsockname()[1]
                with pytest.raises(Refused, match=f"port {taken} on 127.0.0.1 is taken"):
                    await home.envoy(listen={"address": "127.0.0.1", "port": taken})
            home.port = free_port()
            home.edge = Edge(port=home.port)
            assert (await home.envoy())["outcome"] == "running"
            await home.put(pool)
            assert (await home.get())[0] == 200

    asyncio.run(run())


def test_no_usable_binary_is_a_clear_error(tmp_path: Path) -> None:
    async def run() -> None:
        async with balancer(with_envoy=False) as home:
            plain = tmp_path / "envoy"
            for words in ["there is no Envoy at", "is not executable", "Envoy ended at once: .*wants another libc"]:
                with pytest.raises(Refused, match=words) as refused:
                    await home.envoy(binary=str(plain))
                assert "ENVOY_BIN" in refused.value.more["remedy"]
                plain.write_text("#!/bin/sh\necho this program wants another libc\nexit 1\n")
                if words.startswith("is not"):
                    plain.chmod(0o755)
            assert (await home.envoy(binary=BINARY))["outcome"] == "started"

    asyncio.run(run())


def test_private_files() -> None:
    async def run() -> None:
        async with balancer() as home:
            await served(home)
            for name, mode in [("envoy/1/admin.sock", 0o600), ("envoy/1", 0o700), ("log", 0o700), ("xds", 0o700)]:
                assert (home.home / name).stat().st_mode & 0o777 == mode, name

    asyncio.run(run())


def test_addresses_with_colons() -> None:
    async def run() -> None:
        async with balancer() as home:
            endpoint = Endpoint("::1", free_port())
            await home.put(Pool("e-1", (HOST,), (endpoint,), replace(QUICK, path=None)))
            await home.until("e-1", endpoint, healthy=False, active=0)

    asyncio.run(run())
