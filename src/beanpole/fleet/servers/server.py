"""One server at run time: the connection that is kept alive, the channel to its agents, what is sent there.

All of it may be asked for at any time; what is not there is made. Errors are ConnectionFailed and TransferFailed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from beanpole.fleet.agent_client import AgentClient
from beanpole.fleet.servers import layout
from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.channel import SUDO, Channel
from beanpole.fleet.servers.connection import Connection, Ran
from beanpole.fleet.servers.transfer import Destination, OnProgress, Sent, send

if TYPE_CHECKING:
    from beanpole.store.hosts import Host

PYTHON = "python3"
"""Where no better one is known."""


class Server:
    """`store`: the identity of the control plane, which its agents hear."""

    def __init__(self, host: Host, store: str) -> None:
        self.id = host.id
        self.name = host.name
        self.app_port = host.app_port
        self.address = Address.from_json(json.loads(host.address))
        self.host_key = host.host_key
        self.python = host.python or PYTHON
        self.store = store
        self.connection = Connection(self.address, host.host_key)
        self.channel = Channel(self.connection, layout.PROGRAM, python=self.python)

    def agent(self, name: str) -> AgentClient:
        """The client of an instance's agent (`i-…`), or of the one beside the proxy."""
        return AgentClient(lambda: self.channel.open(name), f"{self.name} ({name})", self.store)

    async def script(self, text: str, *, limit: float) -> Ran:
        """Runs a script of POSIX sh there as root, within so many seconds. ConnectionFailed."""
        return await self.connection.run((*SUDO, "sh", "-s"), text.encode(), limit=limit)

    async def deliver(self, files: Sequence[tuple[Path, str, int]], on_progress: OnProgress | None = None) -> Sent:
        """Files (path here, SHA-256, size) are among the server's blobs when this returns. TransferFailed."""
        destination = Destination(self.address, self.host_key, layout.PROGRAM, layout.BLOBS, self.python)
        return await send(destination, files, on_progress)

    async def close(self) -> None:
        await self.channel.close()
        await self.connection.close()
