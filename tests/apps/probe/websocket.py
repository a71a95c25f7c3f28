"""A websocket that echoes (RFC 6455): text, binary, fragments, pings.

It ends when the client says so, when the client breaks the protocol, or when the server stops.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the RFC's constant for Sec-WebSocket-Accept
LARGEST_MESSAGE = 1024 * 1024  # bytes
FAREWELL = 2.0  # seconds that a client has to answer our closing frame
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GOING_AWAY, PROTOCOL_ERROR, BAD_TEXT, TOO_BIG = 1001, 1002, 1007, 1009


class Violation(Exception):
    """The client broke the protocol; `code` goes into the closing frame."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def echo(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, version: str, stopping: asyncio.Event
) -> None:
    """Shakes hands and echoes every message. When `stopping` is set it closes with 1001 (going away)."""
    accept = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nX-App-Version: {version}\r\n\r\n".encode()
    )
    talk = asyncio.ensure_future(converse(reader, writer))
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({talk, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not talk.done():
        send(writer, CLOSE, GOING_AWAY.to_bytes(2, "big"))
        await asyncio.wait({talk}, timeout=FAREWELL)
    if not talk.done():
        talk.cancel()
        return
    if isinstance(talk.exception(), Violation):
        send(writer, CLOSE, talk.exception().code.to_bytes(2, "big") + str(talk.exception()).encode())
        await writer.drain()
    else:
        talk.result()


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echoes until the closing frame, which it returns to the sender. Raises Violation."""
    kind, message = None, b""
    while True:
        final, opcode, payload = await receive(reader)
        if opcode == CLOSE:
            send(writer, CLOSE, payload[:2])
            await writer.drain()
            return
        if opcode == PING:
            send(writer, PONG, payload)
        elif opcode in (TEXT, BINARY, CONTINUATION):
            if (opcode == CONTINUATION) != (kind is not None):
                raise Violation(PROTOCOL_ERROR, "a fragment is out of order")
            kind = opcode if kind is None else kind
            message += payload
            if len(message) > LARGEST_MESSAGE:
                raise Violation(TOO_BIG, f"more than {LARGEST_MESSAGE} bytes")
            if final:
                if kind == TEXT:
                    check_text(message)
                send(writer, kind, message)
                kind, message = None, b""
        elif opcode != PONG:
            raise Violation(PROTOCOL_ERROR, f"unknown opcode {opcode}")
        await writer.drain()


async def receive(reader: asyncio.StreamReader) -> tuple[bool, int, bytes]:
    """One frame: whether it ends its message, its opcode, its payload without the mask."""
    first, second = await reader.readexactly(2)
    final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
    if first & 0x70 or not second & 0x80 or (opcode >= CLOSE and (size > 125 or not final)):
        raise Violation(PROTOCOL_ERROR, "a frame is not masked, or has reserved bits, or is a long control frame")
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    if size > LARGEST_MESSAGE:
        raise Violation(TOO_BIG, f"more than {LARGEST_MESSAGE} bytes")
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    pad = (mask * (size // 4 + 1))[:size]
    return final, opcode, (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def check_text(message: bytes) -> None:
    try:
        message.decode()
    except UnicodeDecodeError:
        raise Violation(BAD_TEXT, "a text is not UTF-8") from None


def send(writer: asyncio.StreamWriter, opcode: int, payload: bytes) -> None:
    size = len(payload)
    if size <= 125:
        length = bytes([size])
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    writer.write(bytes([0x80 | opcode]) + length + payload)
