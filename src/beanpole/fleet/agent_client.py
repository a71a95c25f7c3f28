"""The control plane's side of the agent's API: HTTP over a unix socket of this machine, or over SSH to one of a server.

Every call has a limit, and ends in a result or in one of the errors below:

AgentError
├── AgentUnreachable     nobody answers (in time); the agent may be starting anew: what it was asked may still happen
├── AgentRefused         it answered with an error: status, message
│   ├── StaleEpoch       the order is older than one that it has seen: somebody else is in charge now
│   └── OtherStore       it belongs to another control plane
└── JobError             a job has no result
    ├── JobFailed        stage, command, exit status, last lines, message, remedy
    ├── JobCancelled
    ├── JobInterrupted   its agent died; put it again under the same key
    └── JobOverdue       it goes on, but the caller's time is over
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

PROTOCOL = 1  # of the agent's API that this client speaks
TIMEOUT = 10.0  # seconds for a call that has nothing to wait for
POLL_SECONDS = 25.0  # of one long poll: short enough to notice an agent that hangs
BUNDLE_SECONDS = 120.0  # for a zip file of all logs
SHUTDOWN_SECONDS = 60.0  # for all processes to end, each within its grace
RETRY_SECONDS = 0.1  # between tries to reach an agent that is starting anew

Progress = Callable[[str, int, int], None]  # words, done, total
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]  # OSError when nobody is there


class AgentError(Exception):
    """Base of all that can go wrong between control plane and agent."""


class AgentUnreachable(AgentError):
    """No answer. Says why, and where."""


class AgentRefused(AgentError):
    """An answer, but an error."""

    def __init__(self, status: int, message: str, body: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = body


class StaleEpoch(AgentRefused):
    """Somebody with a newer lease has given orders since."""


class OtherStore(AgentRefused):
    """The agent takes orders of another control plane."""


class JobError(AgentError):
    """A job that has no result."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class JobCancelled(JobError):
    """Somebody cancelled it."""


class JobInterrupted(JobError):
    """The agent died while it ran."""


class JobOverdue(JobError):
    """It still runs after the caller's time."""


class JobFailed(JobError):
    """It failed; the attributes say all that the agent knows."""

    def __init__(self, key: str, error: Mapping[str, Any]) -> None:
        super().__init__(key, str(error["message"]))
        self.stage: str = error["stage"]
        self.command: str | None = error["command"]
        self.exit_status: int | None = error["exit_status"]
        self.last_lines: tuple[str, ...] = tuple(error["last_lines"])
        self.message: str = error["message"]
        self.remedy: str = error["remedy"]


@dataclass(frozen=True)
class JobView:
    """What an agent knows of a job. `state`: running, succeeded, failed, cancelled or interrupted."""

    key: str
    state: str
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    words: str
    done: int
    total: int
    revision: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> JobView:
        progress = body["progress"]
        return cls(
            body["key"], body["state"], body["result"], body["error"],
            progress["words"], progress["done"], progress["total"], body["revision"],
        )  # fmt: skip

    def outcome(self) -> dict[str, Any]:
        """The result. JobError when there is none."""
        if self.state == "succeeded":
            return dict(self.result or {})
        if self.state == "failed" and self.error is not None:
            raise JobFailed(self.key, self.error)
        if self.state == "cancelled":
            raise JobCancelled(self.key, f"job {self.key} was cancelled")
        if self.state == "interrupted":
            raise JobInterrupted(self.key, f"job {self.key} was interrupted: its agent died")
        raise JobOverdue(self.key, f"job {self.key} still runs: {self.words or 'no progress yet'}")


def at_socket(path: Path) -> Connect:
    """Connections to a unix socket of this machine."""
    return lambda: asyncio.open_unix_connection(str(path))


class AgentClient:
    """Speaks for one store with one agent. A connection per call: they cost microseconds, on servers no round trip.

    `where` names the agent in messages.
    """

    def __init__(self, connect: Connect, where: str, store: str, timeout: float = TIMEOUT) -> None:
        self.store = store
        self._connect = connect
        self._where = where
        self._timeout = timeout
        self.greeting: dict[str, Any] | None = None
        """What the last `hello` was answered with."""

    async def hello(self) -> dict[str, Any]:
        """Who is there. AgentRefused when it speaks no protocol of ours."""
        answer = await self.call("GET", "/hello")
        oldest, newest = answer["protocol"]
        if not oldest <= PROTOCOL <= newest:
            message = f"the agent speaks protocols {oldest} to {newest}, not {PROTOCOL}: update the older side"
            raise AgentRefused(200, message, answer)
        self.greeting = answer
        return answer

    async def put_job(self, key: str, kind: str, arguments: Mapping[str, Any], epoch: int) -> JobView:
        """Starts a job, or tells what is known of that key. StaleEpoch, OtherStore."""
        body = {"kind": kind, "arguments": arguments, "store": self.store, "epoch": epoch}
        return JobView.of(await self.call("PUT", f"/jobs/{quote(key, safe='')}", body))

    async def get_job(self, key: str, wait: float = 0.0, seen: int | None = None) -> JobView:
        """What is known of a job, after at most `wait` seconds: earlier when it ends or gets beyond revision `seen`."""
        query = {"wait": wait, **({"seen": seen} if seen is not None else {})}
        path = f"/jobs/{quote(key, safe='')}?{urlencode(query)}"
        return JobView.of(await self.call("GET", path, timeout=wait + self._timeout))

    async def wait_job(
        self, key: str, on_progress: Progress | None = None, timeout: float = 3600.0, known: JobView | None = None
    ) -> dict[str, Any]:
        """The result of a job, which may take `timeout` seconds. JobError when there is none.

        `known`: what its agent said of it last, so that it need not be asked before there is something new.
        """
        loop = asyncio.get_running_loop()
        limit = loop.time() + timeout
        left = timeout
        view = known if known is not None else await self.get_job(key)
        seen: int | None = None
        while True:
            if on_progress is not None and view.words and view.revision != seen:
                on_progress(view.words, view.done, view.total)
            if view.state != "running" or left <= 0.0:
                return view.outcome()
            seen = view.revision
            left = max(0.0, limit - loop.time())
            view = await self.get_job(key, min(left, POLL_SECONDS), seen)

    async def run_job(
        self,
        key: str,
        kind: str,
        arguments: Mapping[str, Any],
        epoch: int,
        on_progress: Progress | None = None,
        timeout: float = 3600.0,
        patience: float = 30.0,
    ) -> dict[str, Any]:
        """Puts a job and waits for its result, also over a restart of the agent that takes up to `patience` seconds."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + timeout
        reached = loop.time()
        while True:
            try:
                view = await self.put_job(key, kind, arguments, epoch)
                reached = loop.time()
                return await self.wait_job(key, on_progress, max(0.0, limit - loop.time()), view)
            except JobInterrupted:
                continue
            except AgentUnreachable:
                if loop.time() >= min(limit, reached + patience):
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def cancel_job(self, key: str, epoch: int | None = None) -> JobView:
        """Ends a job and what it started. One that has ended stays as it is."""
        query = f"?{urlencode({'store': self.store, 'epoch': epoch})}" if epoch is not None else ""
        path = f"/jobs/{quote(key, safe='')}{query}"
        return JobView.of(await self.call("DELETE", path, timeout=SHUTDOWN_SECONDS))

    async def state(self) -> dict[str, Any]:
        """The instance's vital signs, its boot target, releases and processes."""
        return await self.call("GET", "/state")

    async def events(self, after: int = 0) -> list[dict[str, Any]]:
        """What happened since the event of that number."""
        answer = await self.call("GET", f"/events?after={after}")
        return list(answer["events"])

    async def logs(self, lines: int = 100) -> list[dict[str, str]]:
        """The last lines of every log: {"name", "text"}."""
        answer = await self.call("GET", f"/logs?lines={lines}")
        return list(answer["files"])

    async def log_bundle(self) -> bytes:
        """A zip file of all logs."""
        return await self._bytes("GET", "/logs/bundle", b"", BUNDLE_SECONDS)

    async def follow_log(self, name: str, offset: int | None = None) -> tuple[str, int]:
        """What a log holds from that byte on, and the offset to ask for next. Without an offset: its end."""
        query = {"name": name, **({"offset": offset} if offset is not None else {})}
        answer = await self.call("GET", f"/logs/follow?{urlencode(query)}")
        return answer["text"], answer["offset"]

    async def shutdown(self, processes: bool) -> None:
        """Ends the agent; with `processes`, returns when they all have ended."""
        await self.call("POST", "/shutdown", {"processes": processes}, timeout=SHUTDOWN_SECONDS)

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """One call of the API with JSON both ways. AgentUnreachable, AgentRefused."""
        data = json.dumps(body).encode() if body is not None else b""
        answer = json.loads(await self._bytes(method, path, data, timeout if timeout is not None else self._timeout))
        return dict(answer)

    async def _bytes(self, method: str, path: str, data: bytes, timeout: float) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                status, body = await self._exchange(method, path, data)
        except TimeoutError as error:
            raise AgentUnreachable(f"the agent at {self._where} gave no answer within {timeout:g} s") from error
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise AgentUnreachable(f"the agent at {self._where} cannot be reached: {error}") from error
        if status != 200:
            raise _refusal(status, body)
        return body

    async def _exchange(self, method: str, path: str, data: bytes) -> tuple[int, bytes]:
        reader, writer = await self._connect()
        try:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode("latin-1") + data)
            await writer.drain()
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            return status, await reader.readexactly(int(fields["content-length"]))
        finally:
            writer.close()


def _refusal(status: int, data: bytes) -> AgentRefused:
    try:
        body = json.loads(data)
        message = str(body["error"])
    except (ValueError, KeyError, TypeError):
        body, message = {}, data[:200].decode("utf-8", "replace")
    kind = {"stale epoch": StaleEpoch, "other store": OtherStore}.get(message, AgentRefused)
    return kind(status, message, body)
