"""Frames: many streams over one pair of pipes. Both ends of a server's channel speak it, with the code of this module.

A frame is a 4-byte length of its payload, a 1-byte kind, a 4-byte number of its stream (all big-endian), the payload.
Each side of each stream may send WINDOW bytes before the other side grants more: a stream that nobody reads costs no
more memory than that, and never holds up the others. What breaks these rules is a FrameError, never a guess.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Iterator, Tuple

PROTOCOLS = (1, 1)  # oldest and newest version of this protocol that this module speaks
PAYLOAD_LIMIT = 64 * 1024  # bytes of one payload; more is a violation: somebody else speaks on this pipe
PIECE = 32 * 1024  # bytes of data that we put in a frame: what SSH takes in one packet
WINDOW = 256 * 1024  # bytes on their way per stream: 5 MB/s at 50 ms, and no more than that in front of a small call
GRANT = WINDOW // 4  # bytes used before new credit is told: one CREDIT frame for several DATA frames

_HEAD = struct.Struct(">IBI")
_CREDIT = struct.Struct(">I")


class Kind(IntEnum):
    """What a frame is for. HELLO is the far end's first frame and belongs to no stream (number 0)."""

    HELLO = 0  # JSON {"protocol": [oldest, newest], "version", "pid"}
    OPEN = 1  # name of the socket to connect to
    DATA = 2
    END = 3  # no more data from this side
    CLOSE = 4  # the stream is over; why, in words, unless it ended well
    CREDIT = 5  # so many more bytes may be sent


class FrameError(Exception):
    """The other side does not keep to the protocol. Nothing that it sends after this can be understood."""


Frame = Tuple[Kind, int, bytes]  # kind, number of the stream, payload


def encode(kind: Kind, stream: int, payload: bytes = b"") -> bytes:
    """The frame's bytes."""
    return _HEAD.pack(len(payload), kind, stream) + payload


def credit(stream: int, amount: int) -> bytes:
    """A CREDIT frame's bytes."""
    return encode(Kind.CREDIT, stream, _CREDIT.pack(amount))


def granted(payload: bytes) -> int:
    """The amount that a CREDIT frame tells. FrameError when it tells none."""
    if len(payload) != _CREDIT.size:
        raise FrameError(f"a credit of {len(payload)} bytes instead of {_CREDIT.size}")
    return int(_CREDIT.unpack(payload)[0])


class Decoder:
    """Takes bytes as they come, in pieces of any size, and gives frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. FrameError at the first one that cannot be."""
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            length, kind, stream = _HEAD.unpack_from(self._bytes)
            if length > PAYLOAD_LIMIT:
                raise FrameError(f"a frame of {length} bytes; at most {PAYLOAD_LIMIT} are allowed")
            if kind not in _KINDS:
                raise FrameError(f"a frame of the unknown kind {kind}")
            end = _HEAD.size + length
            if len(self._bytes) < end:
                return
            payload = bytes(self._bytes[_HEAD.size : end])
            del self._bytes[:end]
            yield _KINDS[kind], stream, payload


_KINDS = {int(kind): kind for kind in Kind}


class Outlet:
    """What waits to be sent on one stream, and how much of it may go now. Its length: the bytes that wait."""

    def __init__(self) -> None:
        self._credit = WINDOW
        self._waiting = bytearray()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, data: bytes) -> None:
        self._waiting += data

    def grant(self, amount: int) -> None:
        """FrameError when that is more than was ever taken away."""
        self._credit += amount
        if self._credit > WINDOW:
            raise FrameError(f"{self._credit} bytes of credit; there are no more than {WINDOW}")

    def take(self) -> Iterator[bytes]:
        """The pieces that may be sent now."""
        while self._waiting and self._credit:
            piece = bytes(self._waiting[: min(PIECE, self._credit)])
            del self._waiting[: len(piece)]
            self._credit -= len(piece)
            yield piece


class Inlet:
    """How much the other side may still send on one stream."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._used = 0

    def arrived(self, amount: int) -> None:
        """FrameError when the other side sends more than it may."""
        self._left -= amount
        if self._left < 0:
            raise FrameError(f"{-self._left} bytes more than its credit allows")

    def used(self, amount: int) -> int:
        """So many bytes are out of our hands. The credit to tell the other side now; 0: it has enough for a while."""
        self._used += amount
        if self._used < GRANT:
            return 0
        told, self._used = self._used, 0
        self._left += told
        return told
