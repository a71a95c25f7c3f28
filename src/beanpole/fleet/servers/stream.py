"""The near end of one stream of a server's channel: a transport for asyncio's StreamReader and StreamWriter.

Credits rule both ways (see agent/frames.py): what nobody reads stays at the far end, but for one window.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from beanpole.agent.frames import FrameError, Inlet, Kind, Outlet, credit, encode

HIGH, LOW = 64 * 1024, 16 * 1024  # bytes that wait to be sent: a writer that drains is held up between these
LINGER_SECONDS = 30.0  # for what was written before close() to be taken; after that, the stream is aborted


class SocketGone(ConnectionRefusedError):
    """The server is there, but the agent's socket is not, or broke. Says which and why."""


class StreamTransport(asyncio.Transport):
    """`send` takes frames; `forget` is called once when no more frames of this stream matter."""

    def __init__(
        self, number: int, protocol: asyncio.Protocol, send: Callable[[bytes], None], forget: Callable[[int], None]
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._number = number
        self._protocol = protocol
        self._send = send
        self._forget = forget
        self._outlet = Outlet()
        self._inlet = Inlet()
        self._unread: deque[bytes] = deque()  # what came while nobody read: no more than a window
        self._paused = False
        self._full = False  # whether the protocol was told to stop writing
        self._high, self._low = HIGH, LOW
        self._end_in = self._end_in_told = False
        self._end_out = self._end_out_told = False
        self._closing = self._over = False
        self._ended = False  # the far end has closed the stream in order
        self._linger: asyncio.TimerHandle | None = None

    # What the far end sends

    def got_data(self, data: bytes) -> None:
        if self._end_in:
            raise FrameError(f"data on the stream {self._number} after its end")
        self._inlet.arrived(len(data))
        self._unread.append(data)
        self._deliver()

    def got_end(self) -> None:
        self._end_in = True
        self._deliver()

    def got_credit(self, amount: int) -> None:
        self._outlet.grant(amount)
        self._pump()

    def got_close(self, reason: str) -> None:
        self._forget(self._number)
        if reason:
            self._lose(SocketGone(reason))
        else:
            self._ended = self._end_in = True
            self._deliver()

    def lose(self, error: Exception) -> None:
        """The channel is gone."""
        self._lose(error)

    # What asyncio's streams ask for

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._end_out:
            raise RuntimeError("write() after write_eof()")
        if self._closing or self._over or self._ended:
            return
        self._outlet.put(bytes(data))
        self._pump()
        if len(self._outlet) > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._end_out = True
        self._pump()

    def close(self) -> None:
        """What was written before is still sent, if it is taken in time; what comes is not read."""
        if self._closing or self._over:
            return
        self._closing = True
        self._unread.clear()
        if self._ended:
            self._lose(None)
            return
        self._linger = self._loop.call_later(LINGER_SECONDS, self.abort)
        self._pump()

    def abort(self) -> None:
        if not self._over:
            self._send(encode(Kind.CLOSE, self._number, b"aborted"))
            self._forget(self._number)
            self._lose(None)

    def is_closing(self) -> bool:
        return self._closing or self._over

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        # Later: whoever reads is in the middle of taking what it has.
        self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        return len(self._outlet)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH if high is None else high
        self._low = min(self._high // 4 if low is None else low, self._high)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        raise NotImplementedError("a stream of a channel keeps its protocol")

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    # Both directions

    def _deliver(self) -> None:
        """Hands over what may be read now."""
        while self._unread and not self._paused and not self._over:
            data = self._unread.popleft()
            self._protocol.data_received(data)
            told = self._inlet.used(len(data))
            if told and not self._ended:
                self._send(credit(self._number, told))
        if self._unread or self._over:
            return
        if self._end_in and not self._end_in_told and not self._closing:
            self._end_in_told = True
            self._protocol.eof_received()
        if self._ended:
            self._lose(None)

    def _pump(self) -> None:
        """Sends what may be sent now."""
        if self._over or self._ended:
            return
        for piece in self._outlet.take():
            self._send(encode(Kind.DATA, self._number, piece))
        if self._full and len(self._outlet) <= self._low:
            self._full = False
            self._protocol.resume_writing()
        if self._outlet:
            return
        if self._closing:
            self._send(encode(Kind.CLOSE, self._number))
            self._forget(self._number)
            self._lose(None)
        elif self._end_out and not self._end_out_told:
            self._end_out_told = True
            self._send(encode(Kind.END, self._number))

    def _lose(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        self._unread.clear()
        if self._linger is not None:
            self._linger.cancel()
        self._loop.call_soon(self._protocol.connection_lost, error)
