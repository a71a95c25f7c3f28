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

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Coroutine
from typing import Any

from load_connection import Answer, Connection, RequestFailed, cause
from load_report import Failure, Report, Seen
from load_settings import Settings, settings_from
from load_websocket import Websocket

__all__ = ["Load", "Report", "Settings", "settings_from"]

FAILURES_LISTED = 500  # in a report; all are counted
TICK_SECONDS = 0.1  # between a websocket's messages
STOP_SECONDS = 0.05  # shorter pauses are not interrupted by the end of the load: that would cost more than it saves


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
        return await Connection.open(self.settings.address, self.settings.port)

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
            websocket = await asyncio.wait_for(self._upgrade(path), self.settings.timeout)
        except (RequestFailed, TimeoutError) as error:
            self._fail(began, f"websocket: {error or 'not opened'}", f"GET {path}")
            opened.set()
            return
        opened.set()
        try:
            while not self._stopping.is_set():
                text = str(self._report.echoes).encode()
                websocket.say(text)
                echo = await asyncio.wait_for(websocket.hear(), self.settings.timeout)
                if echo != text:
                    raise RequestFailed("another message came back")
                self._report.echoes += 1
                await self._pause(TICK_SECONDS)
            websocket.say_goodbye()
        except TimeoutError:
            self._fail(time.monotonic(), "websocket: no echo", f"GET {path}")
        except (OSError, EOFError) as error:
            self._fail(time.monotonic(), f"websocket: cut off: {cause(error)}", f"GET {path}")
        except RequestFailed as error:
            self._fail(time.monotonic(), f"websocket: {error}", f"GET {path}")
        finally:
            websocket.close()

    async def _upgrade(self, path: str) -> Websocket:
        connection = await Connection.open(self.settings.address, self.settings.port)
        websocket = await Websocket.open(connection, f"GET {path}".encode() + self._fixed)
        self._report.statuses["101"] = self._report.statuses.get("101", 0) + 1
        self._report.answered += 1
        return websocket


def _is_turn(number: int, share: float) -> bool:
    """True for that share of the numbers, as evenly as possible."""
    return int((number + 1) * share) > int(number * share)


def _version(answer: Answer) -> str | None:
    """The header X-App-Version, or the field `version` of a JSON body."""
    version = answer.headers.get("x-app-version")
    if version is None and "json" in answer.headers.get("content-type", ""):
        with contextlib.suppress(ValueError, AttributeError):
            version = json.loads(answer.body).get("version")
    return None if version is None else str(version)


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
