#!/usr/bin/env python3
"""Open-loop HTTP load that counts every request which a user would have seen fail.

A fixed number of requests a second whatever the answers, nothing repeated: most on kept-alive connections, the others
on new ones; beside them slow requests, POSTs, a websocket that echoes all the time, and idle connections that are used
again once at the end. As a library:

    async with Load(Settings(port=8080, host="shop.localhost")) as load:
        ...
    report = load.report()

As a command it runs for --seconds, or until its standard input closes. It writes one line when the load has begun, and
the report as JSON at its end; the exit status is 1 when a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import select
import struct
import sys
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FAILURES_LISTED = 500  # in a report; all are counted
TICK_SECONDS = 0.1  # between a websocket's messages
STOP_SECONDS = 0.05  # shorter pauses are not interrupted by the end of the load: that would cost more than it saves
BODY_LIMIT = 64 * 1024  # bytes of a JSON answer in which a version is looked for
WEBSOCKET_KEY = base64.b64encode(b"beanpole-load-16").decode()
WEBSOCKET_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 4.2.2


@dataclass(frozen=True)
class Settings:
    """What load, and what counts as failed. Shares are between 0 and 1, times in seconds.

    `host` is the Host header, `address` and `port` are where to connect. Every `slow_every` seconds (0: never)
    `slow_path` is asked, which takes `slow_seconds` by itself. `idle` connections ask once at the start and once at the
    end. `allowed` are statuses of 400 and above that are no failure.
    """

    port: int
    address: str = "127.0.0.1"
    host: str = "localhost"
    rate: float = 200.0
    keep_alive: float = 0.8
    path: str = "/"
    post: float = 0.0
    post_path: str = "/"
    slow_path: str = "/slow"
    slow_seconds: float = 1.0
    slow_every: float = 0.0
    idle: int = 0
    websocket: str | None = None
    timeout: float = 10.0
    allowed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One request that failed, `at` seconds after the load began."""

    at: float
    kind: str
    request: str


@dataclass
class Seen:
    """Answers of one version: the first and last one in seconds after the load began, and how many."""

    first: float
    last: float
    count: int = 1


@dataclass
class Report:
    """What happened. Latencies in milliseconds, of ordinary requests that succeeded, from the moment each was due.

    `sent` counts ordinary, slow and idle requests and the websocket's opening (answered, and failed as well, if it is
    cut later). `late_ms` is by how much the generator itself was late at worst: above 50 ms do not trust the latencies.
    `reconnected` counts kept-alive connections that the server had closed, noticed before anything was sent.
    """

    started_at: float
    seconds: float = 0.0
    sent: int = 0
    answered: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    versions: dict[str, Seen] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    late_ms: float = 0.0
    connections: int = 0
    reconnected: int = 0
    echoes: int = 0

    def json(self) -> dict[str, Any]:
        return asdict(self)


class RequestFailed(Exception):
    """Why, in a few words that can be counted."""


@dataclass
class Answer:
    """Status, headers (names in lower case), the first bytes of the body; whether the connection may be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


class Connection:
    """One HTTP/1.1 connection of a client that repeats nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False

    @classmethod
    async def open(cls, settings: Settings) -> Connection:
        try:
            return cls(*await asyncio.open_connection(settings.address, settings.port))
        except OSError as error:
            raise RequestFailed(f"connect: {_cause(error)}") from error

    def closed_by_server(self) -> bool:
        """Whether a FIN (or anything unasked) has arrived: a real client looks before it writes, too."""
        descriptor = self.writer.get_extra_info("socket").fileno()
        if self.reader.at_eof() or self.writer.is_closing() or descriptor < 0:
            return True
        poll = select.poll()  # not `select`, which knows only descriptors below 1024
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

    async def ask(self, head: bytes, body: bytes = b"", has_body: bool = True) -> Answer:
        """One request. RequestFailed for whatever is not one whole answer."""
        stale, self.used = self.used, True
        begun = False
        try:
            self.writer.write(head + body)
            raw = await self.reader.readuntil(b"\r\n\r\n")
            begun = True
            status, headers = _head(raw)
            if status == 101 or not has_body:
                return Answer(status, headers, b"", True)
            content, whole = await self._content(headers)
            reusable = whole and headers.get("connection", "").lower() != "close"
            return Answer(status, headers, content, reusable)
        except (OSError, asyncio.IncompleteReadError) as error:
            started = begun or bool(getattr(error, "partial", b""))
            if started:
                raise RequestFailed("cut off") from error
            raise RequestFailed("stale" if stale else f"no answer: {_cause(error)}") from error
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise RequestFailed("not HTTP") from error

    def close(self) -> None:
        self.writer.close()

    async def _content(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        """The body (its first bytes, if long), and whether the connection can go on after it."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            content = b""
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                piece = await self.reader.readexactly(size + 2)
                if size == 0:
                    return content, True
                content += piece[:-2] if len(content) < BODY_LIMIT else b""
        if "content-length" in headers:
            length = int(headers["content-length"])
            content = await self.reader.readexactly(min(length, BODY_LIMIT))
            left = length - len(content)
            while left:
                left -= len(await self.reader.readexactly(min(left, BODY_LIMIT)))
            return content, True
        return (await self.reader.read(-1))[:BODY_LIMIT], False


class Load:
    """The load, from `async with` on until the block ends and every request has ended."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._report = Report(started_at=time.time())
        self._begin = time.monotonic()
        self._stopping = asyncio.Event()
        self._free: list[Connection] = []
        self._idle: list[Connection] = []
        self._running: set[asyncio.Task[None]] = set()
        self._pacing: list[asyncio.Task[None]] = []
        self._latencies: list[float] = []
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        self._fault: BaseException | None = None
        fixed = f" HTTP/1.1\r\nHost: {settings.host}\r\nUser-Agent: load\r\n"
        self._fixed = fixed.encode()

    async def __aenter__(self) -> Load:
        """Returns once idle connections and the websocket stand, or have failed."""
        self._begin = time.monotonic()
        self._report = Report(started_at=time.time())
        opened = asyncio.Event()
        work = [self._pace(self.settings.rate, self._ordinary)]
        if self.settings.slow_every:
            work.append(self._pace(1 / self.settings.slow_every, self._slow))
        if self.settings.websocket is not None:
            work.append(self._websocket(self.settings.websocket, opened))
        else:
            opened.set()
        await asyncio.gather(*(self._hold() for _ in range(self.settings.idle)))
        self._pacing = [asyncio.create_task(one) for one in work]
        await opened.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Sends nothing more, waits for what was sent, uses the idle connections once."""
        self._stopping.set()
        await asyncio.gather(*self._pacing)
        if self._running:
            await asyncio.wait(self._running)
        await asyncio.gather(*(self._wake(connection) for connection in self._idle))
        for connection in [*self._free, *self._idle]:
            connection.close()
        self._report.seconds = round(time.monotonic() - self._begin, 3)
        if self._fault is not None:
            raise self._fault  # of the generator itself: its report would be wrong

    @property
    def sent(self) -> int:
        """So far."""
        return self._report.sent

    @property
    def failed(self) -> int:
        """So far."""
        return self._report.failed

    async def more(self, count: int, limit: float = 30.0) -> None:
        """Returns when that many further requests have been sent; TimeoutError after `limit` seconds."""
        reached = asyncio.get_running_loop().create_future()
        self._awaited.append((self._report.sent + count, reached))
        async with asyncio.timeout(limit):
            await reached

    def report(self) -> Report:
        """What happened so far; complete after the block."""
        ordered = sorted(self._latencies)
        if ordered:
            self._report.latency_ms = {
                name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            }
        return self._report

    async def _pace(self, rate: float, send: Any) -> None:
        """Calls `send(number, due)` at that rate, all that are due at once when the loop was late."""
        start, number = time.monotonic(), 0
        while not self._stopping.is_set():
            due = start + number / rate
            wait = due - time.monotonic()
            if wait > 0:
                await self._pause(wait)
                continue
            self._report.late_ms = max(self._report.late_ms, round(-1000 * wait, 1))
            task = asyncio.create_task(send(number, due))
            self._running.add(task)
            task.add_done_callback(self._ended)
            number += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fault = self._fault or task.exception()

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but not beyond the end of the load."""
        if seconds < STOP_SECONDS:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _ordinary(self, number: int, due: float) -> None:
        post = _is_turn(number, self.settings.post)
        keep = _is_turn(number, self.settings.keep_alive)
        method, path = ("POST", self.settings.post_path) if post else ("GET", self.settings.path)
        if await self._count(method, path, self.settings.timeout, self._exchange(method, path, keep)):
            self._latencies.append(time.monotonic() - due)

    async def _slow(self, number: int, due: float) -> None:
        path, limit = self.settings.slow_path, self.settings.timeout + self.settings.slow_seconds
        await self._count("GET", path, limit, self._exchange("GET", path, number % 2 == 0))

    async def _count(self, method: str, path: str, limit: float, exchange: Coroutine[Any, Any, Answer]) -> bool:
        """One request, counted. True when it succeeded."""
        self._report.sent += 1
        for number, reached in self._awaited:
            if self._report.sent >= number and not reached.done():
                reached.set_result(None)
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                self._take(await exchange)
        except TimeoutError:
            self._fail(began, f"no answer in {limit:g} s", f"{method} {path}")
        except RequestFailed as error:
            self._fail(began, str(error), f"{method} {path}")
        else:
            return True
        return False

    async def _exchange(self, method: str, path: str, keep: bool) -> Answer:
        connection = await self._connection(keep)
        done = False
        try:
            answer = await connection.ask(*self._words(method, path, keep))
            done = keep and answer.reusable
            return answer
        finally:
            if done:
                self._free.append(connection)
            else:
                connection.close()

    async def _connection(self, keep: bool) -> Connection:
        """A kept one if `keep` and one is free, else a new one."""
        while keep and self._free:
            connection = self._free.pop()
            if not connection.closed_by_server():
                return connection
            connection.close()
            self._report.reconnected += 1
        self._report.connections += 1
        return await Connection.open(self.settings)

    async def _hold(self) -> None:
        """Opens an idle connection with one request on it."""

        async def opening() -> Answer:
            connection = await self._connection(keep=False)
            answer = await connection.ask(*self._words("GET", self.settings.path, keep=True))
            self._idle.append(connection)
            return answer

        await self._count("GET", self.settings.path, self.settings.timeout, opening())

    async def _wake(self, connection: Connection) -> None:
        """Uses an idle connection as a client would: on a new one if the server had closed it before."""

        async def using() -> Answer:
            one = connection
            if one.closed_by_server():
                self._report.reconnected += 1
                one = await self._connection(keep=False)
            try:
                return await one.ask(*self._words("GET", self.settings.path, keep=False))
            finally:
                one.close()

        await self._count("GET", self.settings.path, self.settings.timeout, using())

    def _words(self, method: str, path: str, keep: bool) -> tuple[bytes, bytes]:
        body = b"x=1" if method == "POST" else b""
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        close = b"" if keep else b"Connection: close\r\n"
        return f"{method} {path}".encode() + self._fixed + length + close + b"\r\n", body

    def _take(self, answer: Answer) -> None:
        """Counts an answer. RequestFailed for a status that is one."""
        status = str(answer.status)
        self._report.statuses[status] = self._report.statuses.get(status, 0) + 1
        if answer.status >= 400 and answer.status not in self.settings.allowed:
            raise RequestFailed(f"status {status}")
        self._report.answered += 1
        version = _version(answer)
        if version is None:
            return
        now = round(time.monotonic() - self._begin, 3)
        seen = self._report.versions.setdefault(version, Seen(now, now, 0))
        seen.last, seen.count = now, seen.count + 1

    def _fail(self, began: float, kind: str, request: str) -> None:
        self._report.failed += 1
        self._report.kinds[kind] = self._report.kinds.get(kind, 0) + 1
        if len(self._report.failures) < FAILURES_LISTED:
            self._report.failures.append(Failure(round(began - self._begin, 3), kind, request))

    async def _websocket(self, path: str, opened: asyncio.Event) -> None:
        """One websocket for the whole time: every message must come back, in order, within the time-out."""
        began = time.monotonic()
        self._report.sent += 1
        try:
            connection = await asyncio.wait_for(self._upgrade(path), self.settings.timeout)
        except (RequestFailed, TimeoutError) as error:
            self._fail(began, f"websocket: {error or 'not opened'}", f"GET {path}")
            opened.set()
            return
        opened.set()
        try:
            while not self._stopping.is_set():
                text = str(self._report.echoes).encode()
                connection.writer.write(_frame(0x1, text))
                echo = await asyncio.wait_for(_message(connection.reader), self.settings.timeout)
                if echo != text:
                    raise RequestFailed("another message came back")
                self._report.echoes += 1
                await self._pause(TICK_SECONDS)
            connection.writer.write(_frame(0x8, b"\x03\xe8"))  # a normal closure
        except TimeoutError:
            self._fail(time.monotonic(), "websocket: no echo", f"GET {path}")
        except (OSError, EOFError) as error:
            self._fail(time.monotonic(), f"websocket: cut off: {_cause(error)}", f"GET {path}")
        except RequestFailed as error:
            self._fail(time.monotonic(), f"websocket: {error}", f"GET {path}")
        finally:
            connection.close()

    async def _upgrade(self, path: str) -> Connection:
        connection = await Connection.open(self.settings)
        head = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
        )
        answer = await connection.ask(f"GET {path}".encode() + self._fixed + head.encode(), has_body=False)
        accept = base64.b64encode(hashlib.sha1((WEBSOCKET_KEY + WEBSOCKET_MAGIC).encode()).digest()).decode()
        if answer.status != 101 or answer.headers.get("sec-websocket-accept") != accept:
            connection.close()
            raise RequestFailed(f"status {answer.status}")
        self._report.statuses["101"] = self._report.statuses.get("101", 0) + 1
        self._report.answered += 1
        return connection


def _is_turn(number: int, share: float) -> bool:
    """True for that share of the numbers, as evenly as possible."""
    return int((number + 1) * share) > int(number * share)


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    lines = raw.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1."):
        raise ValueError(f"not a status line: {lines[0][:80]!r}")
    fields = (line.partition(":") for line in lines[1:])
    return int(lines[0].split(" ", 2)[1]), {name.lower(): value.strip() for name, colon, value in fields if colon}


def _version(answer: Answer) -> str | None:
    """The header X-App-Version, or the field `version` of a JSON body."""
    version = answer.headers.get("x-app-version")
    if version is None and "json" in answer.headers.get("content-type", ""):
        with contextlib.suppress(ValueError, AttributeError):
            version = json.loads(answer.body).get("version")
    return None if version is None else str(version)


def _cause(error: Exception) -> str:
    return "end of stream" if isinstance(error, EOFError) else type(error).__name__


def _frame(kind: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455, section 5.2) of at most 125 bytes; masked, as clients must."""
    mask = os.urandom(4)
    return (
        struct.pack("!BB", 0x80 | kind, 0x80 | len(payload))
        + mask
        + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    )


async def _message(reader: asyncio.StreamReader) -> bytes:
    """The next text or binary message; pings are passed over. RequestFailed when the server closes."""
    while True:
        first, length = struct.unpack("!BB", await reader.readexactly(2))
        if length > 125:
            length = struct.unpack("!H", await reader.readexactly(2))[0]
        payload = await reader.readexactly(length)
        if first & 0x0F == 0x8:
            raise RequestFailed(f"closed with code {int.from_bytes(payload[:2], 'big') or 'none'}")
        if first & 0x0F in (0x1, 0x2):
            return payload


def settings_from(words: list[str]) -> tuple[Settings, float | None, Path | None]:
    """The command line: settings, seconds (None: until standard input closes), file for the report (None: output)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", help="ADDRESS:PORT to connect to")
    parser.add_argument("--host", help="Host header (default: the target)")
    parser.add_argument("--seconds", type=float, help="how long (default: until standard input closes)")
    parser.add_argument("--out", type=Path, help="file for the report")
    defaults = Settings(port=0)
    for name, kind in (
        ("rate", float), ("keep-alive", float), ("path", str), ("post", float), ("post-path", str), ("slow-path", str),
        ("slow-seconds", float), ("slow-every", float), ("idle", int), ("websocket", str), ("timeout", float),
    ):  # fmt: skip
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"default: {default}")
    parser.add_argument("--allow", type=int, action="append", default=[], help="a status that is no failure")
    given = vars(parser.parse_args(words))
    address, _, port = given.pop("target").rpartition(":")
    if not port.isdigit():
        parser.error("the target must be ADDRESS:PORT")
    seconds, out, host, allowed = (given.pop(name) for name in ("seconds", "out", "host", "allow"))
    address = address.strip("[]") or defaults.address
    settings = Settings(
        port=int(port), address=address, host=host or f"{address}:{port}", allowed=tuple(allowed), **given
    )
    return settings, seconds, out


async def run(settings: Settings, seconds: float | None) -> Report:
    """The load for that long, or until standard input closes."""
    async with Load(settings) as load:
        print(json.dumps({"started_at": load.report().started_at}), flush=True)
        if seconds is not None:
            await asyncio.sleep(seconds)
        else:
            while await asyncio.to_thread(os.read, sys.stdin.fileno(), 4096):
                pass
    return load.report()


def main() -> int:
    settings, seconds, out = settings_from(sys.argv[1:])
    report = asyncio.run(run(settings, seconds))
    text = json.dumps(report.json())
    if out is not None:
        out.write_text(text + "\n")
    else:
        print(text, flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
