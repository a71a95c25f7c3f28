"""A connection to one server: kept alive, made anew when needed, shared by all that want to run something there.

Attempts are shared too: whoever asks while one goes on gets its outcome. After a failure the next one waits a little.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import asyncssh

from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.dial import Limits, dial, fetch_host_key
from beanpole.fleet.servers.failure import ConnectionFailed, Dropped, LoginRefused, Overdue, SessionRefused
from beanpole.fleet.servers.host_key import HostKey

__all__ = ["Connection", "Limits", "Ran", "fetch_host_key"]

BACKOFF = (0.2, 5.0)  # seconds before the next attempt: after the first failure, doubled up to the last
REFUSED_PAUSE = 10.0  # seconds in which a refused login is not tried again: servers lock out whoever does
STEADY_SECONDS = 5.0  # a connection that held that long is no failure
SESSIONS = 8  # at once: sshd allows 10 per connection, and refuses the next
OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes that a command may print
CLOSE_SECONDS = 2.0  # for a connection to end in order

Session = TypeVar("Session", bound="asyncssh.SSHClientSession[bytes]")


@dataclass(frozen=True)
class Ran:
    """How a command ended. `status`: its exit status, or minus 1 when a signal ended it."""

    status: int
    stdout: bytes
    stderr: bytes


class Connection:
    """`host_key` is pinned (`ssh-ed25519 AAAA…`): without one, or with another one there, nothing is ever sent."""

    def __init__(self, address: Address, host_key: str | None, limits: Limits | None = None) -> None:
        self.address = address
        self.host_key = HostKey.read(host_key) if host_key is not None else None
        self._limits = limits or Limits()
        self._line: asyncssh.SSHClientConnection | None = None
        self._attempt: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._failure: ConnectionFailed | None = None
        self._delay = 0.0
        self._since = 0.0  # loop time of the last success or failure
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether it is there, as far as is known."""
        return self._line is not None and not self._line.is_closed()

    async def connect(self) -> None:
        """Returns when the connection is there. ConnectionFailed after one attempt."""
        await self._connected()

    async def run(self, words: Sequence[str], stdin: bytes = b"", *, limit: float) -> Ran:
        """Runs a command there, within `limit` seconds from when the connection is there. ConnectionFailed.

        After Dropped and Overdue it may have run, or still run.
        """
        line = await self._connected()
        output = _Output()
        try:
            async with asyncio.timeout(limit), self._sessions:
                channel = await self._open(line, lambda: output, words)
                try:
                    channel.write(stdin)
                    channel.write_eof()
                    await output.over
                finally:
                    channel.close()
        except TimeoutError as error:
            cause = f"{self.address}: {words[0]} had not ended after {limit:g} s"
            raise Overdue(cause, "It may still run there. Look at the server's load, then try again.") from error
        except BrokenPipeError as error:
            raise self._dropped("the session ended") from error
        if output.status is None:
            raise self._dropped(output.fault or "the session ended without a result")
        return Ran(output.status, bytes(output.stdout), bytes(output.stderr))

    async def run_script(self, text: str, *, limit: float) -> Ran:
        """Runs a script of POSIX sh there, as `run` does."""
        return await self.run(("sh", "-s"), text.encode(), limit=limit)

    async def session(
        self, factory: Callable[[], Session], words: Sequence[str]
    ) -> tuple[asyncssh.SSHClientChannel[bytes], Session]:
        """A command there with the streams of bytes in the caller's hands. ConnectionFailed."""
        session = factory()
        return await self._open(await self._connected(), lambda: session, words), session

    async def process(self, words: Sequence[str]) -> asyncssh.SSHClientProcess[bytes]:
        """A command there with its stdin, stdout and stderr as streams of bytes. ConnectionFailed."""
        line = await self._connected()
        try:
            return await line.create_process(_line_of(words), encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise self._no_session(line, error) from error

    async def close(self) -> None:
        """Ends the connection, and with it all that runs over it. It is not made anew."""
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt], timeout=CLOSE_SECONDS)
        if self._line is not None:
            line, self._line = self._line, None
            line.close()
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await line.wait_closed()
            except TimeoutError:
                line.abort()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        if self._closed:
            raise Dropped(f"the connection to {self.address} was closed here", "Make a new one.")
        if self._line is not None and not self._line.is_closed():
            return self._line
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._dial())
        # Shielded: whoever gives up does not take it away from the others.
        return await asyncio.shield(self._attempt)

    async def _dial(self) -> asyncssh.SSHClientConnection:
        loop = asyncio.get_running_loop()
        quiet = loop.time() - self._since
        if isinstance(self._failure, LoginRefused) and quiet < REFUSED_PAUSE:
            raise self._failure.with_traceback(None)
        if self._line is not None:
            # It broke. One that broke at once is as good as a failure.
            self._line = None
            self._delay = 0.0 if quiet >= STEADY_SECONDS else self._next_delay()
        if self._delay > quiet:
            await asyncio.sleep(self._delay - quiet)
        try:
            self._line = await dial(self.address, self.host_key, self._limits)
        except ConnectionFailed as failure:
            self._failure, self._delay = failure, self._next_delay()
            raise
        else:
            self._failure = None
            return self._line
        finally:
            self._since = loop.time()

    def _next_delay(self) -> float:
        return min(max(self._delay * 2, BACKOFF[0]), BACKOFF[1])

    async def _open(
        self, line: asyncssh.SSHClientConnection, factory: Callable[[], Session], words: Sequence[str]
    ) -> asyncssh.SSHClientChannel[bytes]:
        try:
            channel, _ = await line.create_session(factory, _line_of(words), encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise self._no_session(line, error) from error
        return channel

    def _no_session(self, line: asyncssh.SSHClientConnection, error: Exception) -> ConnectionFailed:
        if line.is_closed() or not isinstance(error, asyncssh.ChannelOpenError) or "closed" in str(error).lower():
            return self._dropped(str(error))
        remedy = "Check MaxSessions, ForceCommand and the user's shell there."
        return SessionRefused(f"{self.address} runs no command for us: {error}", remedy)

    def _dropped(self, why: str) -> Dropped:
        return Dropped(
            f"the connection to {self.address} broke: {why}", "Whether it happened is not known: look, then try again."
        )


class _Output(asyncssh.SSHClientSession[bytes]):
    """Collects what a command prints, up to a limit."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stdout, self.stderr = bytearray(), bytearray()
        self.status: int | None = None
        self.fault = ""
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        (self.stderr if datatype else self.stdout).extend(data)
        if len(self.stdout) + len(self.stderr) > OUTPUT_LIMIT and self._channel is not None:
            self.fault = f"it printed more than {OUTPUT_LIMIT} bytes"
            self._channel.abort()

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.status = -1
        self.stderr.extend(f"ended by SIG{signal}\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.fault = self.fault or str(exc)
        if not self.over.done():
            self.over.set_result(None)


def _line_of(words: Sequence[str]) -> str:
    """One line for the login shell there that stands for exactly these words."""
    if any("\0" in word for word in words):
        raise ValueError("a word of a command holds a zero byte")
    return shlex.join(words)
