"""Asks as fast as answers come: how much a server can do, and how long each answer takes then.

Every connection sends its next request when it has the whole answer to the last. Run as a program it takes a `Job` as
JSON on standard input and writes an `Outcome` as JSON: in a process of its own, so that nobody waits for its caller.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

GRACE = 30.0
"""Seconds for the process to start and end, beyond those in which it asks."""


@dataclass(frozen=True)
class Job:
    """`request` is sent as it is, by each of `connections`, for `seconds`, of which the first `warm` do not count."""

    address: str
    port: int
    request: str
    connections: int
    seconds: float
    warm: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """Answers with status 200 and others, in so many seconds; milliseconds from a request to its whole answer."""

    answers: int
    others: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


class Asking(asyncio.Protocol):
    """One connection. Answers need a Content-Length."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self._request = request
        self._times = times
        self._buffer = b""
        self._asked = 0.0
        self._over = False
        self.others = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or len(self._buffer) < head + 4 + _length(self._buffer[: head + 2]):
            return
        if self._buffer.startswith(b"HTTP/1.1 200"):
            self._times.append(time.perf_counter() - self._asked)
        else:
            self.others += 1
        self._buffer = b""
        if self._over:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if self._over:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(ConnectionError(f"the server closed a connection: {error or 'end of stream'}"))

    def stop(self) -> None:
        """After the answer that is awaited."""
        self._over = True

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)


def run(job: Job) -> Outcome:
    """In a process of its own. RuntimeError with its last words when that failed."""
    program = [sys.executable, str(Path(__file__).resolve())]
    ended = subprocess.run(
        program, input=json.dumps(asdict(job)), capture_output=True, text=True, timeout=job.seconds + GRACE, check=False
    )
    if ended.returncode != 0:
        raise RuntimeError(f"the closed loop failed: {ended.stderr.strip().splitlines()[-1:]}")
    return Outcome(**json.loads(ended.stdout))


async def ask(job: Job) -> Outcome:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    asking = []
    for _ in range(job.connections):
        _transport, one = await loop.create_connection(
            lambda: Asking(job.request.encode(), times), job.address, job.port
        )
        asking.append(one)
    await asyncio.sleep(job.warm)
    times.clear()
    began = time.perf_counter()
    await asyncio.sleep(job.seconds - job.warm)
    counted, seconds = sorted(times), time.perf_counter() - began
    if not counted:
        raise RuntimeError("not one answer with status 200")
    for one in asking:
        one.stop()
    async with asyncio.timeout(GRACE / 2):
        await asyncio.gather(*(one.ended for one in asking))
    p50, p99 = (counted[min(len(counted) - 1, int(share * len(counted)))] for share in (0.5, 0.99))
    return Outcome(len(counted), sum(one.others for one in asking), seconds, p50 * 1000, p99 * 1000)


def _length(head: bytes) -> int:
    """Bytes of the body that a head announces."""
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("an answer without Content-Length")
    return int(head[at + 17 : head.index(b"\r\n", at + 2)])


if __name__ == "__main__":
    outcome = uvloop.run(ask(Job(**json.load(sys.stdin))))
    json.dump(asdict(outcome), sys.stdout)
