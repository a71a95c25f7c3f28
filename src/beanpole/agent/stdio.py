"""The far end of a server's channel: `agent.pyz stdio [--folder DIR]` joins streams to the sockets of the agents there.

The streams come as frames on stdin and stdout. It runs as root behind an SSH session and trusts nobody: a stream
reaches DIR/NAME.sock for a plain NAME and nothing else, memory per stream is bounded, and what is not our protocol
ends it. Exit statuses: 0 at the end of stdin, 6 when the other side does not keep to the protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Dict, List, Optional, Set, cast

from .frames import PROTOCOLS, Decoder, FrameError, Inlet, Kind, Outlet, credit, encode, granted

STREAMS_LIMIT = 500  # open at once: a stream takes one of the 1024 files that a process may open by default
CONNECT_SECONDS = 5.0  # for an agent that has too many callers waiting to take one more
RETRY_SECONDS = 0.02  # between two tries to get in there
VIOLATION = 6  # exit status
_NAME = re.compile(r"[a-z0-9-]{1,40}")


def serve(folder: Path, version: str) -> int:
    """Serves until stdin ends. The exit status."""
    return asyncio.run(_serve(folder, version))


async def _serve(folder: Path, version: str) -> int:
    loop = asyncio.get_running_loop()
    hub = Hub(folder)
    out, _ = await loop.connect_write_pipe(lambda: _Output(hub), sys.stdout.buffer)
    hub.begin(out, version)
    await loop.connect_read_pipe(lambda: _Input(hub), sys.stdin.buffer)
    fault = await hub.over
    hub.close()
    if fault:
        print(f"beanpole agent: the other side of this channel does not keep to the protocol: {fault}", file=sys.stderr)
        return VIOLATION
    return 0


class Hub:
    """All streams of this process. `over` gets the violation that ended it; "" at an orderly end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.over: "asyncio.Future[str]" = asyncio.get_running_loop().create_future()
        self.stuffed = False  # whether stdout takes no more for now
        self._decoder = Decoder()
        self._streams: Dict[int, Stream] = {}
        self._newest = 0
        self._out: Optional[asyncio.WriteTransport] = None
        self._tasks: Set["asyncio.Task[None]"] = set()

    def begin(self, out: asyncio.WriteTransport, version: str) -> None:
        self._out = out
        hello = {"protocol": list(PROTOCOLS), "version": version, "pid": os.getpid()}
        self.send(encode(Kind.HELLO, 0, json.dumps(hello).encode()))

    def send(self, frame: bytes) -> None:
        if self._out is not None:
            self._out.write(frame)

    def received(self, data: bytes) -> None:
        if self.over.done():
            return
        try:
            for kind, number, payload in self._decoder.feed(data):
                self._frame(kind, number, payload)
        except FrameError as error:
            self.end(str(error))

    def _frame(self, kind: Kind, number: int, payload: bytes) -> None:
        if kind is Kind.OPEN:
            self._open(number, payload)
            return
        if kind is Kind.HELLO or not 0 < number <= self._newest:
            raise FrameError(f"{kind.name} for the stream {number}, which was never opened")
        stream = self._streams.get(number)
        if stream is None:
            return  # it is over, and the other side did not know yet
        if kind is Kind.DATA:
            stream.put(payload)
        elif kind is Kind.END:
            stream.put_end()
        elif kind is Kind.CREDIT:
            stream.grant(granted(payload))
        else:
            del self._streams[number]
            stream.close(abort=bool(payload))

    def _open(self, number: int, payload: bytes) -> None:
        if number <= self._newest:
            raise FrameError(f"the stream {number} is opened again")
        self._newest = number
        name = payload.decode("utf-8", "replace")
        if not _NAME.fullmatch(name):
            self.send(encode(Kind.CLOSE, number, f"{name[:40]!r} is no name of an agent's socket".encode()))
        elif len(self._streams) >= STREAMS_LIMIT:
            self.send(encode(Kind.CLOSE, number, f"{STREAMS_LIMIT} streams are open, which is the limit".encode()))
        else:
            stream = Stream(self, number)
            self._streams[number] = stream
            task = asyncio.ensure_future(stream.connect(str(self.folder / f"{name}.sock")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def forget(self, number: int, reason: str) -> None:
        """Tells the other side that a stream is over, if it does not know."""
        if self._streams.pop(number, None) is not None:
            self.send(encode(Kind.CLOSE, number, reason.encode()[:1000]))

    def stuff(self, stuffed: bool) -> None:
        self.stuffed = stuffed
        for stream in list(self._streams.values()):
            stream.pump()

    def end(self, fault: str = "") -> None:
        if not self.over.done():
            self.over.set_result(fault)

    def close(self) -> None:
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.close(abort=False)
        if self._out is not None:
            self._out.close()
            self._out = None


class Stream(asyncio.Protocol):
    """One stream and the connection to an agent's socket that it is joined to."""

    def __init__(self, hub: Hub, number: int) -> None:
        self._hub = hub
        self._number = number
        self._outlet = Outlet()
        self._inlet = Inlet()
        self._socket: Optional[asyncio.Transport] = None
        self._early: List[bytes] = []  # what came before the connection was there: no more than a window
        self._full = False  # whether the socket takes no more for now
        self._owed = 0  # bytes that it has to take before the other side may send more
        self._end_in = False  # the other side sends no more
        self._end_out = False  # the agent sends no more
        self._end_told = False
        self._closing = False

    async def connect(self, path: str) -> None:
        """Joins the stream to that socket. The other side hears of it when that cannot be done."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + CONNECT_SECONDS
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.setblocking(False)
        try:
            # By hand: for an agent with too many callers waiting, asyncio would take this for connected.
            while True:
                try:
                    link.connect(path)
                    break
                except BlockingIOError:
                    if loop.time() > limit:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)
            await loop.create_unix_connection(lambda: self, sock=link)
        except OSError as error:
            link.close()
            self._hub.forget(self._number, f"no agent answers at {path}: {error.strerror or error}")

    # From the other side

    def put(self, data: bytes) -> None:
        self._inlet.arrived(len(data))
        if self._end_in:
            raise FrameError(f"data on the stream {self._number} after its end")
        if self._socket is None:
            self._early.append(data)
            return
        self._socket.write(data)
        self._taken(len(data))

    def put_end(self) -> None:
        self._end_in = True
        self._finish()

    def grant(self, amount: int) -> None:
        self._outlet.grant(amount)
        self.pump()

    def close(self, abort: bool) -> None:
        """Nothing more goes either way; unless `abort`, the agent still gets what was sent to it."""
        self._closing = True
        if abort:
            self._early.clear()
        if self._socket is not None and abort:
            self._socket.abort()
        elif self._socket is not None:
            self._socket.close()

    # From the agent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        for data in self._early:
            self._socket.write(data)
            self._taken(len(data))
        self._early.clear()
        self.pump()
        if self._closing:
            self._socket.close()
        else:
            self._finish()

    def data_received(self, data: bytes) -> None:
        self._outlet.put(data)
        self.pump()

    def eof_received(self) -> bool:
        self._end_out = True
        self.pump()
        return True  # the other side may go on sending

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._hub.forget(self._number, f"the agent's connection broke: {exc}" if exc is not None else "")

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._taken(0)

    def pump(self) -> None:
        """Sends what may be sent, and reads on only when nothing waits."""
        if self._closing:
            return
        for piece in self._outlet.take():
            self._hub.send(encode(Kind.DATA, self._number, piece))
        if self._end_out and not self._outlet and not self._end_told:
            self._end_told = True
            self._hub.send(encode(Kind.END, self._number))
            self._finish()
        if self._socket is not None and not self._end_out:
            if self._outlet or self._hub.stuffed:
                self._socket.pause_reading()
            else:
                self._socket.resume_reading()

    def _taken(self, amount: int) -> None:
        self._owed += amount
        if not self._full and not self._closing:
            told, self._owed = self._inlet.used(self._owed), 0
            if told:
                self._hub.send(credit(self._number, told))

    def _finish(self) -> None:
        """Ends what both sides, or the other side, have ended."""
        if self._socket is None or self._closing or not self._end_in:
            return
        if self._end_told:
            self._closing = True
            self._socket.close()
        elif not self._socket.is_closing():
            self._socket.write_eof()


class _Input(asyncio.Protocol):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def data_received(self, data: bytes) -> None:
        self._hub.received(data)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._hub.end()


class _Output(asyncio.BaseProtocol):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def pause_writing(self) -> None:
        self._hub.stuff(True)

    def resume_writing(self) -> None:
        self._hub.stuff(False)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._hub.end()
