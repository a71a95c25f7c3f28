"""A small application to balance: says its version, is slow, cuts off, echoes websockets, stops as a good one does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class EchoApp:
    """One HTTP/1.1 server on a free port of 127.0.0.1.

    /            200, JSON with version and the headers that arrived
    /slow?s=1    the same after that many seconds
    /status?c=   that status
    /cut         half an answer
    /ws          a websocket that echoes
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.healthy = True
        self.delay = 0.0  # seconds before it says how it is
        self.port = 0
        self.requests = 0
        self.busy = 0
        self._server: asyncio.Server | None = None
        self._done = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._waiting: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> EchoApp:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """As on SIGTERM: no new connections, idle ones closed, requests under way finished."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._waiting):
            writer.close()
        if self.busy:
            self._done.clear()
            await self._done.wait()

    def kill(self) -> None:
        """As on SIGKILL: everything is cut."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self._waiting.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        finally:
            self._waiting.discard(writer)
        self.busy += 1
        try:
            return await self._answer(head, reader, writer)
        finally:
            self.busy -= 1
            if not self.busy:
                self._done.set()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        await reader.readexactly(int(headers.get("content-length", 0)))
        target = urlsplit(lines[0].split(" ")[1])
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        if target.path == "/health":
            await asyncio.sleep(self.delay)
            return await self._write(writer, 200 if self.healthy else 500, b"ok")
        self.requests += 1
        if target.path == "/ws":
            await self._echo(headers, reader, writer)
            return False
        if target.path == "/cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
            return False
        await asyncio.sleep(float(query.get("s", 0)))
        body = json.dumps({"version": self.version, "headers": headers}).encode()
        return await self._write(writer, int(query.get("c", 200)), body)

    async def _write(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> bool:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return self._server is not None and self._server.is_serving()

    async def _echo(self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + MAGIC).encode()).digest()).decode()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        while True:
            first, length = await reader.readexactly(2)
            mask, payload = await reader.readexactly(4), await reader.readexactly(length & 0x7F)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
            writer.write(bytes([first, len(text)]) + text)
            await writer.drain()
            if first & 0x0F == 0x8:
                return
