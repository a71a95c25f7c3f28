"""One HTTP/1.1 connection of a client that repeats nothing and says why a request failed."""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass

BODY_LIMIT = 64 * 1024  # bytes of a JSON answer in which a version is looked for


class RequestFailed(Exception):
    """Why, in a few words that can be counted."""


@dataclass
class Answer:
    """Status, headers (names in lower case), the first bytes of the body; whether the connection may be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


class Connection:
    """One HTTP/1.1 connection of a client that repeats nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False

    @classmethod
    async def open(cls, address: str, port: int) -> Connection:
        try:
            return cls(*await asyncio.open_connection(address, port))
        except OSError as error:
            raise RequestFailed(f"connect: {cause(error)}") from error

    def closed_by_server(self) -> bool:
        """Whether a FIN (or anything unasked) has arrived: a real client looks before it writes, too."""
        descriptor = self.writer.get_extra_info("socket").fileno()
        if self.reader.at_eof() or self.writer.is_closing() or descriptor < 0:
            return True
        poll = select.poll()  # not `select`, which knows only descriptors below 1024
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

    async def ask(self, head: bytes, body: bytes = b"", has_body: bool = True) -> Answer:
        """One request. RequestFailed for whatever is not one whole answer."""
        stale, self.used = self.used, True
        begun = False
        try:
            self.writer.write(head + body)
            raw = await self.reader.readuntil(b"\r\n\r\n")
            begun = True
            status, headers = _head(raw)
            if status == 101 or not has_body:
                return Answer(status, headers, b"", True)
            content, whole = await self._content(headers)
            reusable = whole and headers.get("connection", "").lower() != "close"
            return Answer(status, headers, content, reusable)
        except (OSError, asyncio.IncompleteReadError) as error:
            started = begun or bool(getattr(error, "partial", b""))
            if started:
                raise RequestFailed("cut off") from error
            raise RequestFailed("stale" if stale else f"no answer: {cause(error)}") from error
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise RequestFailed("not HTTP") from error

    def close(self) -> None:
        self.writer.close()

    async def _content(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        """The body (its first bytes, if long), and whether the connection can go on after it."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            content = b""
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                piece = await self.reader.readexactly(size + 2)
                if size == 0:
                    return content, True
                content += piece[:-2] if len(content) < BODY_LIMIT else b""
        if "content-length" in headers:
            length = int(headers["content-length"])
            content = await self.reader.readexactly(min(length, BODY_LIMIT))
            left = length - len(content)
            while left:
                left -= len(await self.reader.readexactly(min(left, BODY_LIMIT)))
            return content, True
        return (await self.reader.read(-1))[:BODY_LIMIT], False


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    lines = raw.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1."):
        raise ValueError(f"not a status line: {lines[0][:80]!r}")
    fields = (line.partition(":") for line in lines[1:])
    return int(lines[0].split(" ", 2)[1]), {name.lower(): value.strip() for name, colon, value in fields if colon}


def cause(error: Exception) -> str:
    return "end of stream" if isinstance(error, EOFError) else type(error).__name__
