"""The port of a service that somebody made by hand goes over to our Envoy while it is used, and nobody notices."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hand_made
import pytest
from bed import Bed, Server
from hand_made import PORT, UNIT
from outfit import Outfit, Running

from beanpole.balancer.bootstrap import bootstrap
from beanpole.balancer.pool import Edge, Endpoint, Health, Pool
from beanpole.balancer.snapshot import snapshot
from beanpole.fleet.agent_client import AgentClient, AgentError, AgentRefused
from beanpole.fleet.servers import layout
from load import Load, Report, Settings

pytestmark = pytest.mark.long

LISTEN = {"address": "0.0.0.0", "port": PORT}
BEHIND = 20001


@pytest.fixture
def outfit(tmp_path: Path, bed: Bed, servers: list[Server]) -> Iterator[Outfit]:
    hand_made.make(bed, "host1")
    yield Outfit(tmp_path / "a", servers)
    hand_made.unmake(bed, "host1")


def start_new(bed: Bed) -> None:
    """Another version, where Envoy finds it."""
    words = ["systemd-run", "--quiet", "--unit=new-version", "--setenv=VERSION=new", "--collect"]
    bed.exec("host1", *words, "python3", f"{hand_made.FOLDER}/server.py", f"127.0.0.1:{BEHIND}")


async def serving(running: Running) -> AgentClient:
    """Envoy serves the other version beside the service, and has yet to get its first request."""
    server = running.server("host1")
    await running.setup.install(server)
    client = await running.setup.balancer_agent(server)
    shared = await client.call("PUT", "/takeover", {"unit": UNIT, "listen": LISTEN})
    assert shared["state"] == "sharing"
    edge = Edge("0.0.0.0", PORT, None, inner=True)
    pool = Pool("e-1", ("*",), (Endpoint("127.0.0.1", BEHIND),), Health(interval=1.0))
    await client.call("PUT", "/envoy", await setup(running), timeout=60)
    await client.call("PUT", "/snapshot", snapshot([pool], 1, edge).request(running.servers._store), timeout=60)
    return client


async def setup(running: Running) -> dict[str, Any]:
    path = running.setup.envoy_path(running.server("host1"))
    return {"binary": path, "bootstrap": bootstrap(), "listen": LISTEN}


async def switched(client: AgentClient, seconds: float) -> dict[str, Any]:
    await client.call("POST", "/takeover/switch", {"seconds": seconds})
    async with asyncio.timeout(60):
        while (seen := await client.call("GET", "/takeover"))["state"] != "done":  # noqa: ASYNC110 (it is elsewhere)
            await asyncio.sleep(0.05)
    found: dict[str, Any] = seen["result"]
    return found


@pytest.mark.parametrize("run", range(3))
def test_a_service_under_load_hands_its_port_over(
    bed: Bed, servers: list[Server], outfit: Outfit, capsys: pytest.CaptureFixture[str], run: int
) -> None:
    start_new(bed)
    settings = Settings(PORT, servers[0].address, rate=200, keep_alive=0.7, post=0.2, slow_every=3, idle=10)

    async def work(running: Running) -> tuple[Report, dict[str, Any]]:
        async with Load(settings) as load:
            client = await serving(running)
            await load.more(200)
            assert set(load.report().versions) == {"hand"}, "the unit gets everything until the switch"
            result = await switched(client, 20)
            await load.more(600)
        return load.report(), result

    try:
        report, result = outfit.run(work)
    finally:
        bed.exec("host1", "systemctl", "stop", "new-version", check=False)
    with capsys.disabled():
        print(f"\n{report.sent} requests, {result}, {report.versions} {report.latency_ms} {report.kinds}")
    assert report.failed == 0, report.failures
    assert report.versions["new"].count > 500
    assert bed.exec("host1", "systemctl", "is-active", UNIT, check=False).strip() == "inactive"
    assert bed.exec("host1", "systemctl", "is-enabled", UNIT, check=False).strip() == "disabled"
    assert bed.exec("host1", "cat", f"/etc/systemd/system/{UNIT}") == hand_made.TEXT


def test_connections_of_before_outlive_a_renewal_of_the_agent(bed: Bed, servers: list[Server], outfit: Outfit) -> None:
    start_new(bed)
    kept = http.client.HTTPConnection(servers[0].address, PORT, timeout=30)

    def ask() -> str:
        kept.request("GET", "/")
        return kept.getresponse().read().decode().split()[0]

    async def work(running: Running) -> list[str]:
        client = await serving(running)
        answers = [await asyncio.to_thread(ask)]
        assert (await switched(client, 20))["kept"] == 1
        answers.append(await asyncio.to_thread(ask))
        before = (await client.hello())["pid"]
        home = layout.home(layout.PROXY)
        ran = await running.server("host1").script("renew", layout.agent_unit(layout.PROXY), home, limit=60)
        assert ran.stdout.split() == [b"@", b"restarted"]
        async with asyncio.timeout(60):
            while not await answers_as_another(client, before):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.1)
        kept.auto_open = 0  # from here on a new connection would be an error
        answers.append(await asyncio.to_thread(ask))
        return answers

    try:
        assert outfit.run(work) == ["hand", "new", "new"]
    finally:
        kept.close()
        bed.exec("host1", "systemctl", "stop", "new-version", check=False)


@pytest.mark.parametrize("whom", ["main", "all"])
def test_an_agent_that_is_killed_while_it_shares_goes_on(
    bed: Bed, servers: list[Server], outfit: Outfit, whom: str
) -> None:
    start_new(bed)
    settings = Settings(PORT, servers[0].address, rate=100, keep_alive=0.7)

    async def work(running: Running) -> Report:
        async with Load(settings) as load:
            client = await serving(running)
            words = ("systemctl", "kill", f"--kill-whom={whom}", "--signal=KILL", "beanpole-agent-proxy.service")
            await asyncio.to_thread(bed.exec, "host1", *words)
            async with asyncio.timeout(60):
                while not await answers(client):  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.1)
            events = (await client.call("GET", "/events"))["events"]
            assert (await client.call("GET", "/takeover"))["state"] == "sharing", events
            await client.call("PUT", "/envoy", await setup(running), timeout=60)
            await load.more(100)
            assert set(load.report().versions) == {"hand"}
            await switched(client, 20)
            await load.more(200)
        return load.report()

    try:
        report = outfit.run(work)
    finally:
        bed.exec("host1", "systemctl", "stop", "new-version", check=False)
    assert report.failed == 0, report.failures
    assert report.versions["new"].count > 100


async def answers_as_another(client: AgentClient, before: int) -> bool:
    try:
        return bool((await client.hello())["pid"] != before)
    except AgentError:
        return False


async def answers(client: AgentClient) -> bool:
    try:
        await client.hello()
    except AgentError:
        return False
    return True


def test_a_port_that_the_unit_does_not_have_is_refused(bed: Bed, servers: list[Server], outfit: Outfit) -> None:
    async def work(running: Running) -> str:
        await running.setup.install(running.server("host1"))
        client = await running.setup.balancer_agent(running.server("host1"))
        with pytest.raises(AgentRefused) as caught:
            await client.call("PUT", "/takeover", {"unit": UNIT, "listen": {**LISTEN, "port": 8081}})
        return caught.value.message

    assert outfit.run(work) == f"{UNIT} does not listen on port 8081"
