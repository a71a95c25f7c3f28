"""HTTP/1.1 on the agent's unix socket: requests in, answers out, nothing else.

A table of routes is all that a role hands over. Bodies are JSON (or bytes, or an open file), sizes and waits are
bounded, and whatever a handler raises becomes an answer: no client waits for a connection that died silently.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import traceback
from dataclasses import dataclass, field
from typing import Any, Awaitable, BinaryIO, Callable, Dict, List, Mapping, Optional, Set, Tuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .deadline import within
from .fulldisk import REMEDY, is_full, words

HEAD_LIMIT = 32 * 1024  # bytes of request line and headers: our clients send a few hundred
BODY_LIMIT = 64 * 1024 * 1024  # bytes: a manifest of 200,000 files is about 30 MB
IDLE_SECONDS = 600.0  # a kept-alive connection without a request
TRANSFER_SECONDS = 60.0  # for a body to arrive, or one piece of an answer to be taken
PIECE = 64 * 1024  # bytes of an answer's file that are in memory at a time

_REASONS = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 411: "Length Required",
    413: "Content Too Large", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


class HttpError(Exception):
    """Ends a request with `status` and the body {"error": message, …more}."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.more = more


@dataclass(frozen=True)
class Request:
    """One request. `path` (decoded) is without the query; `tail` (decoded) is what the `*` of the route stands for."""

    method: str
    path: str
    tail: str
    query: Mapping[str, str]
    body: bytes

    def json(self) -> Dict[str, Any]:
        """The body as a JSON object ({} when there is none). HttpError 400 for anything else."""
        if not self.body:
            return {}
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise HttpError(400, f"the body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise HttpError(400, "the body must be a JSON object")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """The query's parameter as a number, kept between low and high. HttpError 400 when it is none."""
        text = self.query.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError as error:
            raise HttpError(400, f"{name}={text} is not a number") from error
        if value != value:
            raise HttpError(400, f"{name}={text} is not a number")
        return min(max(value, low), high)


@dataclass(frozen=True)
class Response:
    """An answer: bytes, or an open file of `size` bytes, which is closed when it is sent (or cannot be)."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    file: Optional[BinaryIO] = None
    size: int = 0

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Response:
        """The value as JSON."""
        return cls(status, json.dumps(value, separators=(",", ":")).encode())


Handler = Callable[[Request], Awaitable[Response]]
Routes = Dict[Tuple[str, str], Handler]  # (method, path); a path that ends in "/*" takes all below it


@dataclass
class Server:
    """Serves `routes` on one unix socket. `report` gets the text of what went wrong inside a handler."""

    routes: Routes
    report: Callable[[str], None]
    _server: Optional[asyncio.AbstractServer] = None
    _connections: Set["asyncio.Task[Any]"] = field(default_factory=set)

    async def start(self, listening: socket.socket) -> None:
        """Serves a bound unix socket."""
        self._server = await asyncio.start_unix_server(self._connection, sock=listening, limit=HEAD_LIMIT)

    async def stop(self) -> None:
        """Takes no further connection and ends those that are open."""
        if self._server is not None:
            self._server.close()
        connections = [task for task in self._connections if task is not asyncio.current_task()]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # the client went away or is stuck; nobody is left to tell
        finally:
            if task is not None:
                self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. True while the connection may carry another."""
        try:
            request, keep = await self._read(reader)
        except HttpError as error:
            await self._write(writer, _refusal(error), keep=False)
            return False
        await self._write(writer, await self._answer(request), keep)
        return keep

    async def _read(self, reader: asyncio.StreamReader) -> Tuple[Request, bool]:
        head = await within(IDLE_SECONDS, reader.readuntil(b"\r\n\r\n"))
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise HttpError(400, "not an HTTP/1.1 request")
        headers = _headers(lines[1:])
        if "transfer-encoding" in headers:
            raise HttpError(411, "send the body with Content-Length")
        length = headers.get("content-length", "0")
        if not length.isdigit():
            raise HttpError(400, f"Content-Length {length} is not a number")
        if int(length) > BODY_LIMIT:
            raise HttpError(413, f"the body has {length} bytes; at most {BODY_LIMIT} are taken")
        body = await within(TRANSFER_SECONDS, reader.readexactly(int(length)))
        target = urlsplit(words[1])
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        keep = words[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Request(words[0], target.path, "", query, body), keep

    async def _answer(self, request: Request) -> Response:
        try:
            handler, matched = self._route(request)
            return await handler(matched)
        except HttpError as error:
            return _refusal(error)
        except OSError as error:
            if is_full(error):  # nobody's fault, and over as soon as there is room: 503 as for all that passes
                return _refusal(HttpError(503, f"{request.method} {request.path} failed: {words(error)}. {REMEDY}"))
            return self._fault(request, error)
        except Exception as error:  # the boundary: a fault of ours becomes an answer and a line in the agent's log
            return self._fault(request, error)

    def _fault(self, request: Request, error: Exception) -> Response:
        self.report(f"{request.method} {request.path}\n{traceback.format_exc()}")
        return Response.of({"error": f"the agent failed inside: {type(error).__name__}: {error}"}, 500)

    def _route(self, request: Request) -> Tuple[Handler, Request]:
        methods: List[str] = []
        for (method, pattern), handler in self.routes.items():
            below = pattern[:-1] if pattern.endswith("/*") else None
            # Compared before decoding: a key may hold %2F, which must stay one segment.
            if request.path != pattern and (below is None or not request.path.startswith(below)):
                continue
            if method == request.method:
                tail = unquote(request.path[len(below) :]) if below is not None else ""
                return handler, Request(method, unquote(request.path), tail, request.query, request.body)
            methods.append(method)
        if methods:
            raise HttpError(405, f"{request.path} takes {', '.join(methods)}")
        raise HttpError(404, f"this agent has no {request.path}")

    async def _write(self, writer: asyncio.StreamWriter, response: Response, keep: bool) -> None:
        size = response.size if response.file is not None else len(response.body)
        head = (
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Answer')}\r\n"
            f"Content-Type: {response.content_type}\r\nContent-Length: {size}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        writer.write(head.encode("latin-1") + response.body)
        if response.file is not None:
            with contextlib.closing(response.file) as file:
                left = size
                while left:
                    piece = file.read(min(PIECE, left))
                    if not piece:
                        raise EOFError("the file of the answer became shorter")
                    left -= len(piece)
                    writer.write(piece)
                    await within(TRANSFER_SECONDS, writer.drain())
        await within(TRANSFER_SECONDS, writer.drain())


def _headers(lines: List[str]) -> Dict[str, str]:
    headers: Dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


def _refusal(error: HttpError) -> Response:
    return Response.of({"error": error.message, **error.more}, error.status)
