"""A client of Envoy's admin interface on its unix socket.

One connection per question, every question with a limit. What goes wrong is an AdminError that says what was asked.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Dict

from .deadline import within

ANSWER_SECONDS = 5.0  # Envoy's main thread answers within milliseconds unless it is stuck
SOCKET_LENGTH = 103  # bytes: what sockaddr_un holds on every system


class AdminError(Exception):
    """Envoy's admin interface did not answer, or not as it should."""


class Admin:
    """Questions to the Envoy whose admin socket is at that path."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def get(self, target: str) -> bytes:
        return await self._ask("GET", target)

    async def post(self, target: str) -> bytes:
        """For what changes something: draining, reopening logs."""
        return await self._ask("POST", target)

    async def json(self, target: str) -> Any:
        body = await self.get(target)
        try:
            return json.loads(body)
        except ValueError as error:
            raise AdminError(f"GET {target}: the answer is not JSON: {error}") from error

    async def stats(self, pattern: str) -> Dict[str, str]:
        """Counters, gauges and texts whose name matches the regular expression, texts without their quotes."""
        lines = (await self.get(f"/stats?filter={pattern}")).decode("utf-8", "replace").splitlines()
        found = {}
        for line in lines:
            name, colon, value = line.rpartition(": ")
            if colon:
                found[name] = value.strip('"')
        return found

    async def live(self) -> bool:
        """Whether it has read its configuration, its workers run, and it is not about to end."""
        try:
            if (await self.get("/ready")).strip() != b"LIVE":
                return False
            return (await self.stats("^listener_manager.workers_started$")).get(
                "listener_manager.workers_started"
            ) == "1"
        except AdminError:
            return False

    async def _ask(self, method: str, target: str) -> bytes:
        try:
            status, body = await within(ANSWER_SECONDS, self._exchange(method, target))
        except asyncio.TimeoutError as error:
            raise AdminError(f"{method} {target}: no answer within {ANSWER_SECONDS:.0f} s") from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise AdminError(f"{method} {target}: {type(error).__name__}: {error}") from error
        if status != 200:
            raise AdminError(f"{method} {target}: status {status}: {body[:200].decode('utf-8', 'replace').strip()}")
        return body

    async def _exchange(self, method: str, target: str) -> "tuple[int, bytes]":
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(
                f"{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            if "transfer-encoding: chunked" not in head:
                return status, await reader.read(-1)
            parts = []
            while True:
                size = int((await reader.readuntil(b"\r\n")).strip(), 16)
                parts.append((await reader.readexactly(size + 2))[:-2])
                if size == 0:
                    return status, b"".join(parts)
        finally:
            writer.close()
