"""What the balancer counts is what clients sent: also across rotations and agents that die. Real Envoy."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from balancer_home import QUICK, BalancerHome, Pool, balancer, endpoints, until
from echo_app import EchoApp
from test_tally import line

from beanpole.agent import requests
from beanpole.agent.events import EventLog
from beanpole.agent.requests import Requests
from load import Load, Settings

HOST = "a.localhost"


def sums(answer: dict[str, Any], pool: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for pools in answer["seconds"].values():
        for endpoint in pools.get(pool, {}).values():
            for name, count in endpoint.items():
                total[name] = total.get(name, 0) + (len(count) if name == "latency_ms" else count)
    return total


async def counted(home: BalancerHome, count: int) -> dict[str, Any]:
    """The answer once that many requests are in complete seconds."""

    async def enough() -> Any:
        answer = await home.ask("GET", "/requests")
        found = sums(answer, "e-1")
        return answer if sum(number for name, number in found.items() if name.endswith("xx")) >= count else None

    answer: dict[str, Any] = await until(enough)
    return answer


@pytest.mark.slow
def test_counts_add_up_with_what_was_sent() -> None:
    async def run() -> None:
        async with balancer() as home:
            apps = [await EchoApp(str(number)).start() for number in range(2)]
            await home.put(Pool("e-1", (HOST,), endpoints(apps), QUICK))
            settings = Settings(
                port=home.port, host=HOST, rate=150, websocket="/ws", slow_path="/status?c=503", slow_every=0.1
            )
            async with Load(settings) as load:
                await home.get("/status?c=404")
                await home.get("/status?c=302")
                await home.get("/cut")
                await load.more(200)
            sent, wrong = load.report().sent + 3, load.report().kinds["status 503"]
            answer = await counted(home, sent)
            assert answer["totals"]["e-1"] == {"requests": sent, "failed": wrong + 1}
            ok = sent - wrong - 1 - 1 - 1  # without the websocket; the answer that was cut had status 200
            expected = {"1xx": 1, "2xx": ok, "3xx": 1, "4xx": 1, "5xx": wrong, "failed": wrong + 1}
            assert sums(answer, "e-1") == {**expected, "latency_ms": sent - 1}
            named = {endpoint for pools in answer["seconds"].values() for endpoint in pools["e-1"]}
            assert named == {endpoint.key for endpoint in endpoints(apps)}
            later = await home.ask("GET", "/requests", after=str(answer["now"]))
            assert later["seconds"] == {}

    asyncio.run(run())


@pytest.mark.slow
def test_nothing_is_lost_when_the_log_is_rotated_and_envoy_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "ROTATE_BYTES", 20_000)
    monkeypatch.setattr(requests, "READ_SECONDS", 0.1)

    async def run() -> None:
        async with balancer() as home:
            app = await EchoApp("1").start()
            await home.put(Pool("e-1", (HOST,), endpoints([app]), QUICK))
            async with Load(Settings(port=home.port, host=HOST, rate=200)) as load:
                await load.more(300)
                await home.ask("POST", "/envoy/replace")
                await load.more(300)
            answer = await counted(home, load.sent)
            assert answer["totals"]["e-1"]["requests"] == load.sent
            assert answer["unreadable"] == 0
            names = {path.name for path in (home.home / "log").glob("access-*.log")}
            assert {"access-1.log", "access-2.log"} <= names
            assert len(names) >= 4
            # Another agent goes on with the same numbers, and still knows the last seconds.
            await home.role.stop(processes=False, grace=30.0)
            home.role = home.agent()
            await home.role.start()
            again = await counted(home, load.sent)
            assert again["totals"] == answer["totals"]
            assert sums(again, "e-1")["2xx"] == load.sent

    asyncio.run(run())


def of(home: Path) -> Requests:
    return Requests(home, list, EventLog(home))


def test_an_agent_that_dies_counts_nothing_twice(tmp_path: Path) -> None:
    async def run() -> None:
        (tmp_path / "log").mkdir()
        log = tmp_path / "log" / "access-1.log"
        log.write_bytes(b"\n".join([line(), line()]) + b"\n" + line()[:40])
        first = of(tmp_path)
        await first.start()
        assert (await first.since(0))["totals"] == {"e-1": {"requests": 2, "failed": 0}}
        await first.stop()
        with log.open("ab") as file:
            file.write(line()[40:] + b"\n" + line() + b"\n")
        killed = of(tmp_path)
        await killed.start()
        assert (await killed.since(0))["totals"]["e-1"]["requests"] == 4
        # It is not stopped, so what it read since is not stored, and the next one reads that again.
        third = of(tmp_path)
        await third.start()
        assert (await third.since(0))["totals"]["e-1"]["requests"] == 4
        await third.stop()
        await killed.stop()

    asyncio.run(run())


def test_a_renamed_file_is_known_again(tmp_path: Path) -> None:
    async def run() -> None:
        (tmp_path / "log").mkdir()
        log = tmp_path / "log" / "access-1.log"
        log.write_bytes(line() + b"\n")
        counting = of(tmp_path)
        await counting.start()
        await counting.since(0)
        log.rename(log.with_name("access-1.5.log"))
        with log.with_name("access-1.5.log").open("ab") as file:
            file.write(line() + b"\n")
        log.write_bytes(line() + b"\n")
        assert (await counting.since(0))["totals"]["e-1"]["requests"] == 3
        await counting.stop()

    asyncio.run(run())


def test_old_files_are_removed_once_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "READ_SECONDS", 0.01)

    async def run() -> None:
        (tmp_path / "log").mkdir()
        for number in range(10):
            log = tmp_path / "log" / f"access-{number}.log"
            log.write_bytes(line() + b"\n")
            os.utime(log, (number, number))
        counting = of(tmp_path)
        await counting.start()
        await until(lambda: len(list((tmp_path / "log").iterdir())) <= requests.FILES_KEPT)
        assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [f"access-{n}.log" for n in range(6, 10)]
        assert (await counting.since(0))["totals"]["e-1"]["requests"] == 10
        await counting.stop()

    asyncio.run(run())
