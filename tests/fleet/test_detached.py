"""Agents as the control plane keeps them: hung ones are followed by others, ended ones stay ended."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from beanpole.agent.kernel import this_kernel
from beanpole.fleet import detached
from beanpole.fleet.agent_client import AgentClient, AgentUnreachable
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.detached import AgentWillNotStart, DetachedAgent
from beanpole.fleet.holder import Holder

STUBBORN = "trap '' TERM; echo $$ > ../pid; while :; do sleep 0.1; done"
FILES = 2000  # to remove: enough for several looks at the agent meanwhile


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_program(tmp_path_factory.mktemp("program"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder whose agents, and all that they started, are ended after the test."""
    above = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    home = above / "i-1"
    yield home
    for pid in [*agents_of(home), *applications_of(home)]:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(above, ignore_errors=True)


def applications_of(home: Path) -> list[int]:
    path = home / "home.json"
    return list(this_kernel().marked(json.loads(path.read_text())["id"])) if path.exists() else []


def agents_of(home: Path) -> list[int]:
    """Living agents of that folder."""
    kernel = this_kernel()
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in numbers if f" --home {home} " in kernel.command_line(pid) and kernel.identity(pid)]


@pytest.fixture
def agent(home: Path, program: Path) -> DetachedAgent:
    return DetachedAgent(home, program, "store-1", "instance", "127.0.0.9")


def story(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60.0))


async def running(client: AgentClient, command: str = "echo $$ > ../pid; exec sleep 300") -> int:
    """The pid of an application."""
    await client.run_job("f", "fetch", {"release": "r1", "manifest": [], "source": "/nowhere"}, 1)
    processes = [{"name": "worker", "command": command}]
    release = {"release": "r1", "processes": processes, "environment": {}, "layer": None}
    await client.run_job("p", "prepare", release, 1)
    await client.run_job("s", "switch", {"release": "r1", "settle": 0}, 1)
    return int((await client.state())["processes"][0]["pid"])


@pytest.mark.parametrize("how", ["stopped", "its socket is gone", "both"])
def test_an_agent_that_hangs_is_followed_by_another_one_and_the_application_goes_on(
    agent: DetachedAgent, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "STUCK_LIMIT", 0.3)

    async def work() -> None:
        client = await agent.client()
        application = await running(client)
        hung = (await client.hello())["pid"]
        if how != "its socket is gone":
            os.kill(hung, signal.SIGSTOP)
        if how != "stopped":
            agent.socket.unlink()

        client = await agent.client()

        assert (await client.hello())["pid"] != hung
        assert (await client.state())["processes"][0]["pid"] == application
        assert agents_of(agent.home) == [(await client.hello())["pid"]]
        await agent.end(grace=1.0)
        assert this_kernel().identity(application) is None

    story(work)


def test_an_agent_that_hangs_can_be_ended(agent: DetachedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "STUCK_LIMIT", 0.3)

    async def work() -> None:
        client = await agent.client()
        application = await running(client)
        os.kill((await client.hello())["pid"], signal.SIGSTOP)

        await agent.end(grace=1.0)

        assert this_kernel().identity(application) is None
        assert agents_of(agent.home) == []

    story(work)


def test_an_agent_that_answers_late_is_let_be(agent: DetachedAgent) -> None:
    async def work() -> None:
        client = await agent.client()
        slow = (await client.hello())["pid"]
        os.kill(slow, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(1.5, os.kill, slow, signal.SIGCONT)

        assert (await (await agent.client()).hello())["pid"] == slow

    story(work)


def test_an_agent_that_was_busy_for_too_long_is_ended(agent: DetachedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "BUSY_LIMIT", 2.0)
    monkeypatch.setattr(detached, "HELLO", (0.5, 0.5))
    monkeypatch.setattr(Holder, "stopped", lambda self: False)  # as one that runs in a circle, or waits for a disk

    async def work() -> None:
        client = await agent.client()
        busy = (await client.hello())["pid"]
        os.kill(busy, signal.SIGSTOP)
        began = time.monotonic()

        client = await agent.client()

        assert (await client.hello())["pid"] != busy
        assert time.monotonic() - began > 2.0  # the limit: less would be at once

    story(work)


def test_a_stranger_who_holds_the_folder_is_named_and_never_signalled(
    agent: DetachedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "STUCK_LIMIT", 0.1)
    monkeypatch.setattr("beanpole.fleet.holder.TERM_SECONDS", 0.1)
    monkeypatch.setattr("beanpole.fleet.holder.KILL_SECONDS", 0.1)
    agent.home.mkdir()
    stranger = subprocess.Popen(["sleep", "300"])
    try:
        with (agent.home / "agent.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{stranger.pid}\n")
            lock.flush()

            async def work() -> None:
                with pytest.raises(AgentWillNotStart, match=rf"process {stranger.pid} \(sleep 300\).*end it"):
                    await agent.client()

            story(work)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_ended_agent_is_not_started_again_while_its_folder_is_removed(agent: DetachedAgent) -> None:
    async def work() -> None:
        client = await agent.client()
        await running(client, "trap 'sleep 0.3; exit 0' TERM; touch ../ready; while :; do sleep 0.1; done")
        for number in range(FILES):
            (agent.home / "releases" / "r1" / "app" / str(number)).touch()
        over = asyncio.Event()
        told: list[str] = []

        async def keep_alive() -> None:
            while not over.is_set():
                agent.reap()
                try:
                    await agent.client()
                except AgentUnreachable as problem:
                    told.append(str(problem))
                await asyncio.sleep(0.005)

        keeping = [asyncio.create_task(keep_alive()) for _ in range(3)]
        await agent.end(grace=5.0)
        await asyncio.to_thread(shutil.rmtree, agent.home)
        over.set()
        await asyncio.gather(*keeping)

        assert agents_of(agent.home) == []
        assert not agent.home.exists()
        with pytest.raises(AgentUnreachable, match="was ended"):
            await agent.client()
        assert told
        await agent.end()  # again: nothing is left to do

    story(work)


def test_an_agent_that_is_ending_still_answers_and_nobody_waits_for_its_end(agent: DetachedAgent) -> None:
    async def work() -> None:
        client = await agent.client()
        await running(client, "trap 'sleep 2; exit 0' TERM; touch ../ready; while :; do sleep 0.1; done")
        while not (agent.home / "releases" / "r1" / "ready").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        ending = asyncio.create_task(agent.end(grace=10.0))
        await asyncio.sleep(0.2)

        state = await (await agent.client()).state()

        assert not ending.done()
        assert [each["name"] for each in state["processes"]] == ["worker"]
        await ending

    story(work)


def test_applications_have_as_long_to_end_as_the_caller_says(agent: DetachedAgent) -> None:
    async def work() -> None:
        application = await running(await agent.client(), STUBBORN)

        async with asyncio.timeout(25.0):  # it ignores SIGTERM: otherwise it would have 30 seconds
            await agent.end(grace=0.5)

        assert this_kernel().identity(application) is None

    story(work)


def test_an_end_that_failed_may_be_tried_again(agent: DetachedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        await agent.client()
        with monkeypatch.context() as meanwhile:

            async def lost(*_: Any, **__: Any) -> None:
                raise AgentUnreachable("the connection broke")

            meanwhile.setattr(AgentClient, "call", lost)
            meanwhile.setattr(DetachedAgent, "_reach", lambda self: asyncio.sleep(0))
            with pytest.raises(AgentUnreachable, match="broke"):
                await agent.end()

        assert (await (await agent.client()).hello())["role"] == "instance"
        await agent.end()
        assert agents_of(agent.home) == []

    story(work)
