"""probe: the application that tests and measurements put load on. Standard library only; starts at once.

Serves HTTP/1.1 on HOST (127.0.0.1) and PORT. On SIGTERM it stops accepting, finishes what runs, and answers late
requests of open connections with `Connection: close`. The file VERSION beside it names the version; every answer
carries it.

/  /version  /pid  /health   JSON            /slow?s=30    answers after s seconds (0 to 600)
/env?name=X                  JSON, or null   /crash?exit=3 answers 202, then the process dies with that status
/ws                          websocket echo
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote

import websocket

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()
STARTED = time.time()

LARGEST_HEAD = 32 * 1024  # bytes of request line and headers
LARGEST_BODY = 16 * 1024 * 1024  # bytes
LONGEST_SLEEP = 600.0  # seconds, of /slow
HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
BACKLOG = 1024  # connections the kernel holds until we accept them
# Turns of the loop between SIGTERM and closing the listener: one accepts what the kernel has already shaken hands with
# (closing would reset it), the others let those connections register.
ACCEPT_TURNS = 5
KEEP_ALIVE = 75.0  # seconds; longer than any balancer keeps an idle connection, so that it closes first
IDLE_GRACE = 0.5  # seconds between SIGTERM and closing idle connections: a request may be on its way
LAST_CALL = 600.0  # seconds after SIGTERM when running requests are given up

REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large",
           426: "Upgrade Required", 431: "Request Header Fields Too Large", 501: "Not Implemented",
           503: "Service Unavailable"}  # fmt: skip


class Refusal(Exception):
    """A request that cannot be read further: it is answered with this status, then the connection is closed."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case; the last of equal names wins
    keep_alive: bool


async def read_request(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """The request that begins with the byte `first`; its body is read and dropped.

    Raises Refusal, or asyncio.IncompleteReadError when the client is gone.
    """
    try:
        head = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Refusal(431, f"more than {LARGEST_HEAD} bytes of headers") from None
    first_line, *lines = head.decode("latin-1").lstrip("\r\n")[:-4].split("\r\n")
    words = first_line.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refusal(400, "this is no HTTP/1.1 request line")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refusal(400, "a header line has no name")
        headers[name.lower()] = value.strip()
    await drop_body(reader, writer, headers)
    path, _, query = words[1].partition("?")
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if words[2] == "HTTP/1.1" else "keep-alive" in connection
    return Request(words[0], unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers, keep_alive)


async def drop_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]) -> None:
    """Reads past the body, so that the next request of the connection starts where it should."""
    coding = headers.get("transfer-encoding", "").lower()
    if coding not in ("", "chunked") or (coding and "content-length" in headers):
        raise Refusal(501 if coding else 400, "only chunked bodies, or bodies with a Content-Length, are understood")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if not coding:
        length = headers.get("content-length", "0")
        await drop(reader, int(length) if length.isascii() and length.isdigit() else -1, 0)
        return
    total = 0
    while True:
        word = (await read_line(reader)).split(b";")[0].strip()
        size = int(word, 16) if word and HEX_DIGITS.issuperset(word) else -1
        total += await drop(reader, size, total)
        if size == 0:
            while await read_line(reader) != b"\r\n":  # trailers
                pass
            return
        await reader.readexactly(2)


async def read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        raise Refusal(400, "a line of a chunked body is too long") from None


async def drop(reader: asyncio.StreamReader, size: int, before: int) -> int:
    if size < 0:
        raise Refusal(400, "the length of the body is no number")
    if before + size > LARGEST_BODY:
        raise Refusal(413, f"more than {LARGEST_BODY} bytes of body")
    left = size
    while left:
        left -= len(await reader.readexactly(min(left, 64 * 1024)))
    return size


class Server:
    """Accepts, answers and ends. `connections` says of each open connection whether a request runs on it."""

    def __init__(self) -> None:
        self.connections: dict[asyncio.StreamWriter, bool] = {}
        self.stopping = asyncio.Event()
        self.empty = asyncio.Event()

    async def run(self, host: str, port: int) -> None:
        """Serves until SIGTERM or SIGINT, then until the last running request is answered."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        listener = await asyncio.start_server(self.serve, host, port, limit=LARGEST_HEAD, backlog=BACKLOG)
        say(f"probe {VERSION} listens on {host}:{port}")
        await self.stopping.wait()
        say(f"probe {VERSION} stops: {sum(self.connections.values())} requests run")
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        listener.close()
        loop.call_later(IDLE_GRACE, self.close_idle)
        if self.connections:
            await asyncio.wait([asyncio.ensure_future(self.empty.wait())], timeout=LAST_CALL)
        say(f"probe {VERSION} ended: {sum(self.connections.values())} requests cut")

    def close_idle(self) -> None:
        for writer, busy in self.connections.items():
            if not busy:
                writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first request to its last."""
        self.connections[writer] = False
        try:
            while await self.exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left: nobody to tell
        finally:
            del self.connections[writer]
            writer.close()
            if self.stopping.is_set() and not self.connections:
                self.empty.set()

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection stays open."""
        impatience = asyncio.get_running_loop().call_later(KEEP_ALIVE, writer.close)
        try:
            first = await reader.readexactly(1)
            self.connections[writer] = True
            request = await read_request(first, reader, writer)
        except Refusal as refusal:
            await self.answer(writer, refusal.status, {"error": str(refusal)}, keep_alive=False)
            return False
        finally:
            impatience.cancel()
        if request.path == "/ws" and "sec-websocket-key" in request.headers:
            await websocket.echo(reader, writer, request.headers["sec-websocket-key"], VERSION, self.stopping)
            return False
        status, value = await self.reply(request)
        keep_alive = request.keep_alive and not self.stopping.is_set() and status != 202
        await self.answer(writer, status, value, keep_alive=keep_alive, head_only=request.method == "HEAD")
        self.connections[writer] = False
        if status == 202:
            say(f"probe {VERSION} dies, as asked")
            os._exit(value["exit"])
        return keep_alive

    async def reply(self, request: Request) -> tuple[int, dict]:
        if request.path == "/":
            return 200, {"application": "probe", "version": VERSION, "pid": os.getpid()}
        if request.path == "/version":
            return 200, {"version": VERSION}
        if request.path == "/pid":
            return 200, {"pid": os.getpid(), "started": STARTED}
        if request.path == "/health":
            return (503, {"status": "stopping"}) if self.stopping.is_set() else (200, {"status": "ok"})
        if request.path == "/env":
            name = request.query.get("name", "")
            return 200, {"name": name, "value": os.environ.get(name)}
        if request.path == "/slow":
            seconds = number(request.query.get("s", "1"), 0, LONGEST_SLEEP)
            if seconds is None:
                return 400, {"error": f"s must be a number of seconds between 0 and {LONGEST_SLEEP:g}"}
            await asyncio.sleep(seconds)
            return 200, {"version": VERSION, "slept": seconds}
        if request.path == "/crash":
            status = number(request.query.get("exit", "1"), 0, 255)
            if status is None:
                return 400, {"error": "exit must be a number between 0 and 255"}
            return 202, {"version": VERSION, "pid": os.getpid(), "exit": int(status)}
        if request.path == "/ws":
            return 426, {"error": "this is a websocket: send an upgrade with Sec-WebSocket-Key"}
        return 404, {"error": f"there is no {request.path}"}

    async def answer(
        self, writer: asyncio.StreamWriter, status: int, value: dict, *, keep_alive: bool, head_only: bool = False
    ) -> None:
        body = json.dumps(value).encode() + b"\n"
        connection = "keep-alive" if keep_alive else "close"
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-App-Version: {VERSION}\r\nConnection: {connection}\r\n\r\n"
        )
        writer.write(head.encode() if head_only else head.encode() + body)
        await writer.drain()


def number(text: str, low: float, high: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if low <= value <= high else None


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(Server().run(os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])))
