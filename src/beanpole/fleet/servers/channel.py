"""Streams to the agents' sockets of one server, many at once, through one SSH session.

The session's process is `PROGRAM stdio`, started when the first stream is opened and again after it was lost; opening
another stream costs no round trip. When it is lost, every stream ends with ConnectionResetError.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import asyncssh

from beanpole.agent.frames import PROTOCOLS, Decoder, FrameError, Kind, encode, granted
from beanpole.fleet.servers.connection import Connection
from beanpole.fleet.servers.failure import ConnectionFailed, Dropped, Overdue, ProgramFailed
from beanpole.fleet.servers.stream import StreamTransport

SUDO = ("sudo", "-n")  # never asks for a password
HELLO_SECONDS = 15.0  # for sudo and Python to start, on a server that is busy
NEWEST = 2**32 - 1  # number of the last stream of one process
STDERR_LIMIT = 4096  # bytes that are kept for whoever asks why it ended


class Channel:
    """`program`: the agent's program on the server; `folder`: where its sockets are, if not in the usual place."""

    def __init__(
        self,
        connection: Connection,
        program: str,
        *,
        python: str = "python3",
        become: Sequence[str] = SUDO,
        folder: str | None = None,
    ) -> None:
        self._connection = connection
        self._words = [*become, python, "-I", program, "stdio", *(["--folder", folder] if folder is not None else [])]
        self._link: _Link | None = None
        self._attempt: asyncio.Task[_Link] | None = None

    async def open(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to the socket of that name (`i-…` or `proxy`). ConnectionFailed when the server is not to be had.

        That there is no such socket turns out when the stream is read: SocketGone.
        """
        link = self._link
        if link is None or not link.usable:
            link = await self._linked()
        return link.open(name)

    async def hello(self) -> dict[str, Any]:
        """What the far end says of itself: version, pid, protocol. ConnectionFailed."""
        return (await self._linked()).greeting

    async def close(self) -> None:
        """Ends the process there; streams end with it. The next `open` starts another."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt])
        if self._link is not None:
            self._link.end("it was closed here")

    async def _linked(self) -> _Link:
        if self._link is not None and self._link.usable:
            return self._link
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._start())
        return await asyncio.shield(self._attempt)

    async def _start(self) -> _Link:
        host = str(self._connection.address)
        _, link = await self._connection.session(lambda: _Link(host), self._words)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await link.ready
        except TimeoutError as error:
            cause = f"{host}: the agent's program said nothing within {HELLO_SECONDS:g} s"
            raise Overdue(cause, "Look at the server's load, then try again.") from error
        finally:
            if not link.usable:
                link.end("it did not start")
        self._link = link
        return link


class _Link(asyncssh.SSHClientSession[bytes]):
    """One process `stdio` and the streams that go through it. `ready` is done when it said hello."""

    def __init__(self, host: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = host
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.greeting: dict[str, Any] = {}
        self.usable = False
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._decoder = Decoder()
        self._first = bytearray()  # what came before hello
        self._stderr = bytearray()
        self._status: int | None = None
        self._streams: dict[int, StreamTransport] = {}
        self._newest = 0
        self._frames: list[bytes] = []  # what this round of the loop sends

    def open(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._newest += 1
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport = StreamTransport(self._newest, protocol, self._send, self._forget)
        self._streams[self._newest] = transport
        self._send(encode(Kind.OPEN, self._newest, name.encode()))
        protocol.connection_made(transport)
        if self._newest == NEWEST:
            self.usable = False
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    def end(self, why: str) -> None:
        self._lose(ConnectionResetError(f"{self._host}: the channel is over: {why}"))
        if self._channel is not None:
            self._channel.close()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype:
            self._stderr = (self._stderr + data)[-STDERR_LIMIT:]
            return
        if not self.greeting:
            self._first += data[:STDERR_LIMIT]
        try:
            for kind, number, payload in self._decoder.feed(data):
                self._frame(kind, number, payload)
        except FrameError as error:
            self._violated(str(error))

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or self._status is None:
            why = f"the connection to {self._host} broke: {exc or 'the session ended'}"
            failure: ConnectionFailed = Dropped(why, "Whether it happened is not known: look, then try again.")
        else:
            said = self._stderr.decode("utf-8", "replace").strip()[-400:] or "it said nothing"
            why = f"{self._host}: the agent's program ended with status {self._status}: {said}"
            failure = ProgramFailed(why, "Check sudo without password, Python 3.9 or newer, and the program there.")
        self._lose(ConnectionResetError(why), failure)

    def _frame(self, kind: Kind, number: int, payload: bytes) -> None:
        if kind is Kind.HELLO:
            self._greeted(payload)
        elif not self.greeting:
            raise FrameError(f"{kind.name} before HELLO")
        elif kind is Kind.OPEN or not 0 < number <= self._newest:
            raise FrameError(f"{kind.name} for the stream {number}, which was never opened")
        elif (stream := self._streams.get(number)) is None:
            return  # it is over here, and the far end did not know yet
        elif kind is Kind.DATA:
            stream.got_data(payload)
        elif kind is Kind.END:
            stream.got_end()
        elif kind is Kind.CREDIT:
            stream.got_credit(granted(payload))
        else:
            stream.got_close(payload.decode("utf-8", "replace"))

    def _greeted(self, payload: bytes) -> None:
        try:
            greeting = json.loads(payload)
            oldest, newest = greeting["protocol"]
        except (ValueError, KeyError, TypeError) as error:
            raise FrameError("a HELLO that is none") from error
        if self.greeting:
            raise FrameError("a second HELLO")
        self.greeting = greeting
        if newest < PROTOCOLS[0] or oldest > PROTOCOLS[1]:
            cause = f"{self._host}: the agent's program speaks protocols {oldest} to {newest} of the channel"
            failure = ProgramFailed(f"{cause}, not {PROTOCOLS[1]}", "Update the older side.")
            self._lose(ConnectionResetError(failure.cause), failure)
        elif not self.ready.done():
            self.usable = True
            self.ready.set_result(None)

    def _violated(self, why: str) -> None:
        cause = f"{self._host}: the agent's program does not keep to the channel's protocol: {why}"
        remedy = "Update the older side."
        if not self.greeting:
            said = self._first[:200].decode("utf-8", "replace").strip()
            cause = f"{self._host}: something else than the agent's program speaks there: {said!r}"
            remedy = "The user's shell must print nothing when no terminal is there: look at its start files."
        self._lose(ConnectionResetError(cause), ProgramFailed(cause, remedy))
        if self._channel is not None:
            self._channel.abort()

    def _lose(self, error: ConnectionResetError, failure: ConnectionFailed | None = None) -> None:
        """Ends all streams. `failure`: what somebody who waits for its start is told."""
        self.usable = False
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.lose(error)
        if not self.ready.done():
            self.ready.set_exception(failure or Dropped(str(error), "Try again."))
            self.ready.exception()  # whoever waited for it may have gone

    def _forget(self, number: int) -> None:
        self._streams.pop(number, None)

    def _send(self, frame: bytes) -> None:
        # All that one round of the loop has to say goes in one packet.
        if not self._frames:
            self._loop.call_soon(self._flush)
        self._frames.append(frame)

    def _flush(self) -> None:
        data, self._frames = b"".join(self._frames), []
        if self._channel is None or self._channel.is_closing():
            return
        try:
            self._channel.write(data)
        except BrokenPipeError as error:
            self._lose(ConnectionResetError(f"the connection to {self._host} broke: {error}"))
