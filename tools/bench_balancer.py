"""What our balancer costs: requests through it against requests through an Envoy that does nothing but pass them on.

Ours is the whole of it: the agent with its Envoy, health checks and a log line a request that the agent counts. Both
stand before the same three endpoints, which are a third Envoy that answers at once, and are asked in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import closed_loop
from beanpole.balancer.bootstrap import bootstrap
from beanpole.balancer.pool import Edge, Endpoint, Health, Pool
from beanpole.balancer.snapshot import snapshot
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.detached import DetachedAgent
from beanpole.fleet.envoy import envoy_binary
from bench_idle import cpu_seconds
from figure import Figure, median
from scratch import Broken

ROUNDS = 5
SECONDS = 3.0
"""Of asking, each time."""

CONNECTIONS = 32
ENDPOINTS = 3

READY_LIMIT = 20.0
"""Seconds for an Envoy to answer the first request."""

HOST = "bench.localhost"
STORE = "bench"
_TYPE = "type.googleapis.com/envoy."


@dataclass(frozen=True)
class Round:
    """Requests a second, microseconds of processor for each, by Envoy and by the agent beside it."""

    rate: float
    envoy: float
    agent: float


def against_bare(folder: Path) -> list[Figure]:
    """`folder`: for the Envoys' files."""
    return asyncio.run(_against_bare(folder))


async def _against_bare(folder: Path) -> list[Figure]:
    ours, bare, *ports = _free_ports(2 + ENDPOINTS)
    agent = DetachedAgent(folder / "edge", agent_program(folder), STORE, "balancer")
    origin = _static([_listener(port, _answer()) for port in ports], [])
    passing_on = _static([_listener(bare, _pass_on())], [_cluster(ports)])
    through_ours: list[Round] = []
    through_bare: list[Round] = []
    with _envoy(folder / "origin", origin), _envoy(folder / "bare", passing_on) as bare_pid:
        try:
            ours_pid, agent_pid = await _start_ours(agent, ours, ports)
            for port in (ours, bare):
                await asyncio.to_thread(_wait, port)
            turns = [(ours, ours_pid, agent_pid, through_ours), (bare, bare_pid, None, through_bare)]
            for _ in range(ROUNDS):
                turns.reverse()
                for port, envoy, beside, rounds in turns:
                    rounds.append(await asyncio.to_thread(_round, port, envoy, beside))
        finally:
            await agent.end()
    return _figures(through_ours, through_bare)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def _start_ours(agent: DetachedAgent, port: int, endpoints: list[int]) -> tuple[int, int]:
    """Pids of Envoy and of the agent."""
    client = await agent.client()
    listen = {"address": "127.0.0.1", "port": port}
    setup = {"binary": str(envoy_binary()), "bootstrap": bootstrap(), "listen": listen}
    await client.call("PUT", "/envoy", setup, timeout=READY_LIMIT)
    pool = Pool("bench", (HOST,), tuple(Endpoint("127.0.0.1", each) for each in endpoints), Health(interval=1.0))
    wanted = snapshot([pool], 1, Edge("127.0.0.1", port))
    await client.call("PUT", "/snapshot", wanted.request(STORE), timeout=READY_LIMIT)
    answer = await client.call("GET", "/envoy")
    return int(answer["pid"]), int((await client.hello())["pid"])


def _round(port: int, envoy: int, agent: int | None) -> Round:
    request = f"GET /version HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: bench\r\n\r\n"
    before = cpu_seconds(envoy), cpu_seconds(agent) if agent else 0.0
    outcome = closed_loop.run(closed_loop.Job("127.0.0.1", port, request, CONNECTIONS, SECONDS, warm=0.0))
    if outcome.others:
        raise Broken(f"{outcome.others} of {outcome.answers} requests got another answer than 200")
    used = cpu_seconds(envoy) - before[0], (cpu_seconds(agent) if agent else 0.0) - before[1]
    return Round(outcome.rate, *(1e6 * each / outcome.answers for each in used))


def _figures(ours: list[Round], bare: list[Round]) -> list[Figure]:
    ratios = [one.rate / other.rate for one, other in zip(ours, bare, strict=True)]
    costs = [one.envoy / other.envoy for one, other in zip(ours, bare, strict=True)]
    beside = statistics.median(each.agent for each in ours)
    return [
        median(
            "balancer.rate.ratio",
            "requests a second, ours to bare",
            ratios,
            "",
            note=f"{_middle(ours, 'rate'):,.0f} to {_middle(bare, 'rate'):,.0f} per s, {CONNECTIONS} connections",
        ),
        median(
            "balancer.cpu.ratio",
            "Envoy's processor time a request, ours to bare",
            costs,
            "",
            note=f"{_middle(ours, 'envoy'):.0f} to {_middle(bare, 'envoy'):.0f} microseconds",
        ),
        Figure(
            "balancer.agent.cpu",
            "  and of the agent that counts it",
            beside,
            "microseconds",
            note=f"median of {len(ours)}",
        ),
    ]


def _middle(rounds: list[Round], name: str) -> float:
    return float(statistics.median(getattr(each, name) for each in rounds))


# -- Envoys of the bench's own ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _envoy(folder: Path, configuration: dict[str, Any]) -> Iterator[int]:
    """An Envoy with that configuration and as many workers as ours; its pid."""
    folder.mkdir(parents=True)
    file = folder / "envoy.json"
    file.write_text(json.dumps(configuration))
    words = [str(envoy_binary()), "-c", str(file), "--disable-hot-restart", "--log-level", "error"]
    words += ["--concurrency", str(min(os.cpu_count() or 1, 4))]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _static(listeners: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def _listener(port: int, route: dict[str, Any]) -> dict[str, Any]:
    """With Envoy's defaults."""
    manager = {
        "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _TYPE + "extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": f"listener-{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _answer() -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "x" * 60}}}


def _pass_on() -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}


def _cluster(ports: list[int]) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    assignment = {"cluster_name": "origin", "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": "origin", "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}


def _wait(port: int) -> None:
    """Until a request gets its answer. Broken when none does in time."""
    until = time.monotonic() + READY_LIMIT
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/version", headers={"Host": HOST})
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(0.05)
    raise Broken(f"nothing answers on port {port}")
