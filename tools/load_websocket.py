"""The client's end of a websocket (RFC 6455), as far as short messages need it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct

from load_connection import Connection, RequestFailed

KEY = base64.b64encode(b"beanpole-load-16").decode()
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 4.2.2


class Websocket:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, connection: Connection, request: bytes) -> Websocket:
        """`request`: the first lines of the request, without those that ask for a websocket. Raises RequestFailed."""
        head = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )
        answer = await connection.ask(request + head.encode(), has_body=False)
        accept = base64.b64encode(hashlib.sha1((KEY + MAGIC).encode()).digest()).decode()
        if answer.status != 101 or answer.headers.get("sec-websocket-accept") != accept:
            connection.close()
            raise RequestFailed(f"status {answer.status}")
        return cls(connection)

    def say(self, text: bytes) -> None:
        self._connection.writer.write(_frame(0x1, text))

    async def hear(self) -> bytes:
        """The next text or binary message. RequestFailed when the server closes."""
        return await _message(self._connection.reader)

    def say_goodbye(self) -> None:
        """A normal closure, which the server may answer."""
        self._connection.writer.write(_frame(0x8, b"\x03\xe8"))

    def close(self) -> None:
        self._connection.close()


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
