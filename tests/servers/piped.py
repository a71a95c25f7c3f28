"""A server without SSH: the far end as a process of this machine, behind the same calls that a Connection has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any


class PipedConnection:
    """Stands for fleet/servers/connection.py. `sessions` are the processes that it started."""

    address = "admin@piped"

    def __init__(self) -> None:
        self.sessions: list[_Session] = []

    async def session(self, factory: Callable[[], Any], words: Sequence[str]) -> tuple[Any, Any]:
        client = factory()
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        session = _Session(process, client)
        self.sessions.append(session)
        client.connection_made(session)
        session.begin()
        return session, client

    async def close(self) -> None:
        for session in self.sessions:
            session.close()
            await asyncio.wait_for(session.over.wait(), 10)


class _Session:
    def __init__(self, process: asyncio.subprocess.Process, client: Any) -> None:
        self.process = process
        self.over = asyncio.Event()
        self._client = client
        self._closing = False

    def begin(self) -> None:
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None and self.process.stderr is not None
        errors = asyncio.create_task(self.process.stderr.read())
        while data := await self.process.stdout.read(64 * 1024):
            self._client.data_received(data, None)
        self._client.data_received(await errors, 1)
        status = await self.process.wait()
        if status >= 0:
            self._client.exit_status_received(status)
        self._closing = True
        self._client.connection_lost(None)
        self.over.set()

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        assert self.process.stdin is not None
        self.process.stdin.close()

    abort = close

    def kill(self) -> None:
        os.kill(self.process.pid, 9)
