"""One server at run time: the connection that is kept alive, the channel to its agents, what is sent there.

All of it may be asked for at any time; what is not there is made. Errors are ConnectionFailed and TransferFailed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from beanpole.fleet.agent_client import AgentClient
from beanpole.fleet.servers import layout
from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.channel import SUDO, Channel
from beanpole.fleet.servers.connection import Connection, Ran
from beanpole.fleet.servers.scripts import script
from beanpole.fleet.servers.sender import deliver
from beanpole.fleet.servers.transfer import Destination, OnProgress, Sent, send

if TYPE_CHECKING:
    from beanpole.store.hosts import Host

PYTHON = "python3"
"""Where no better one is known."""

ROOT = "root"
"""Needs no sudo, which servers without other users may lack."""

SMALL = 512 * 1024
"""Bytes that are sent over the connection that is there: a process with one of its own takes half a second to start,
and is for what would keep this one busy."""


class Server:
    """`store`: the identity of the control plane, which its agents hear.

    Who makes the server ready holds `preparing`, who sends files `sending`. `machine` is its architecture, once that
    is known. `senders` limits how many servers are sent to at once.
    """

    def __init__(self, host: Host, store: str, senders: asyncio.Semaphore | None = None) -> None:
        self.id = host.id
        self.name = host.name
        self.app_port = host.app_port
        self.address = Address.from_json(json.loads(host.address))
        self.host_key = host.host_key
        self.chosen = host.python
        self.store = store
        self.machine: str | None = None
        self.preparing = asyncio.Lock()
        self.sending = asyncio.Lock()
        self._senders = senders or asyncio.Semaphore(1)
        self.become: tuple[str, ...] = () if self.address.user == ROOT else SUDO
        self.connection = Connection(self.address, host.host_key)
        self.channel = self._channel()

    @property
    def python(self) -> str:
        """The interpreter there that runs the agent's program."""
        return self.chosen or PYTHON

    async def choose(self, python: str) -> None:
        """From now on that one."""
        self.chosen = python
        before, self.channel = self.channel, self._channel()
        await before.close()

    def agent(self, name: str) -> AgentClient:
        """The client of an instance's agent (`i-…`), or of the one beside the proxy."""
        return AgentClient(lambda: self.channel.open(name), f"{self.name} ({name})", self.store)

    async def script(self, name: str, *words: str, limit: float) -> Ran:
        """Runs that script (see scripts.py) there as root, within so many seconds. ConnectionFailed."""
        text = script(name).encode()
        return await self.connection.run((*self.become, "sh", "-s", "--", *words), text, limit=limit)

    async def feed(self, name: str, *words: str, data: bytes, limit: float) -> Ran:
        """As `script`, with something to read."""
        return await self.connection.run(
            (*self.become, "sh", "-c", script(name), "beanpole", *words), data, limit=limit
        )

    async def deliver(
        self,
        files: Sequence[tuple[Path, str, int]],
        on_progress: OnProgress | None = None,
        program: str = layout.PROGRAM,
    ) -> Sent:
        """Files (path here, SHA-256, size) are among the server's blobs when this returns. TransferFailed.

        `program`: the agent's there, which takes them.
        """
        destination = Destination(self.address, self.host_key, program, layout.BLOBS, self.python, self.become)
        if sum(size for _, _, size in files) <= SMALL:
            return await deliver(destination, files, on_progress or _unheard, self.connection)
        async with self._senders:
            return await send(destination, files, on_progress)

    async def close(self) -> None:
        await self.channel.close()
        await self.connection.close()

    def _channel(self) -> Channel:
        return Channel(self.connection, layout.PROGRAM, python=self.python, become=self.become)


def _unheard(_done: int, _total: int, _file: str) -> None:
    pass
