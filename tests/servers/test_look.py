"""Whether a server's port is reached: tried where something listens, else with a listener of ours for a moment.

This machine stands for the server. tests/hosts looks at real ones.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from beanpole.fleet.servers.facts import Facts, Listener, Python
from beanpole.fleet.servers.look import reach

PYTHON = Python(path=sys.executable, version=sys.version_info[:3], executable=sys.executable)
FACTS = Facts(uid=0, pythons=(PYTHON,), listening=())


class Here:
    """As a Connection, but the commands run here."""

    address = SimpleNamespace(host="127.0.0.1")

    def __init__(self) -> None:
        self.children: list[asyncio.subprocess.Process] = []

    async def process(self, words: tuple[str, ...]) -> Any:
        child = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        self.children.append(child)
        assert child.stdin is not None
        return SimpleNamespace(stdout=child.stdout, close=child.stdin.close)


def reached(facts: Facts, port: int) -> str | None:
    """What was found; what was started to find it has ended by itself."""

    async def run() -> str | None:
        here: Any = Here()
        found = await reach(here, facts, port)
        for child in here.children:
            await asyncio.wait_for(child.wait(), 20)
        return found

    return asyncio.run(run())


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_where_nothing_listens_something_of_ours_does_for_a_moment(port: int) -> None:
    assert reached(FACTS, port) == "open"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0  # and it is gone


def test_what_listens_is_tried_itself(port: int) -> None:
    taken = msgspec.structs.replace(FACTS, listening=(Listener(address="0.0.0.0", port=port),))
    with socket.create_server(("127.0.0.1", port)):
        assert reached(taken, port) == "open"
    assert reached(taken, port) == "open", "what listened has ended since: something of ours is tried"


def test_it_is_not_tried_where_it_cannot_be(port: int) -> None:
    private = msgspec.structs.replace(FACTS, listening=(Listener(address="127.0.0.1", port=port),))
    assert reached(private, port) is None
    assert reached(msgspec.structs.replace(FACTS, pythons=()), port) is None
    with socket.create_server(("0.0.0.0", port)):  # the facts are older than this
        assert reached(FACTS, port) is None
