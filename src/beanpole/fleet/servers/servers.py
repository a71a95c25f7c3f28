"""All servers that this control plane has to do with, each with the one connection that is kept to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.servers.server import Server
from beanpole.store import hosts

if TYPE_CHECKING:
    from beanpole.store.database import Database

SENDERS = 8
"""Transfers at the same time: each is a process that compresses and encrypts, and takes 50 MB of memory."""


class Servers:
    """`store`: the identity of the control plane."""

    def __init__(self, database: Database, store: str) -> None:
        self._database = database
        self._store = store
        self._known: dict[str, Server] = {}
        self._senders = asyncio.Semaphore(SENDERS)

    def server(self, host_id: str) -> Server:
        """The same object for as long as nobody forgets it. AgentUnreachable when there is no such host."""
        known = self._known.get(host_id)
        if known is None:
            with self._database.read() as db:
                host = hosts.find(db, host_id)
            if host is None:
                raise AgentUnreachable(f"there is no host {host_id}")
            known = self._known[host_id] = Server(host, self._store, self._senders)
        return known

    async def forget(self, host_id: str) -> None:
        """Its row has changed, or is about to go: the connection ends, and is made anew from the row when needed."""
        known = self._known.pop(host_id, None)
        if known is not None:
            await known.close()

    async def close(self) -> None:
        known, self._known = list(self._known.values()), {}
        await asyncio.gather(*(server.close() for server in known), return_exceptions=True)
