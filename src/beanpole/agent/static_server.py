"""The program `agent.pyz static`: answers requests below mapped paths from folders of one release, for the balancer.

HTTP/1.1 on a loopback address; GET and HEAD. It knows nothing but the files, and costs nothing while nobody asks. At
SIGTERM it takes no further connection, finishes what it has begun, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from typing import BinaryIO, Dict, List, Mapping, Tuple

from .static_answer import Types, answer
from .static_file import ETags, Forbidden, Found, Missing, NeedsSlash, find
from .static_path import place_of

HEAD_LIMIT = 64 * 1024  # bytes of a request's head: what Envoy lets through
SENDFILE_FROM = 64 * 1024  # bytes: less goes out with its head, in one packet or two
CONNECTIONS_LIMIT = 4096  # at once: further ones are closed, and the balancer asks another instance
SPARE_FILES = 64  # descriptors that connections leave alone
BACKLOG = 1024

_REASONS = {
    200: "OK", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified", 400: "Bad Request",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 416: "Range Not Satisfiable",
    503: "Service Unavailable",
}  # fmt: skip

Headers = Tuple[Tuple[str, str], ...]


class StaticServer:
    """`folders` maps paths to folders below `root`. For one event loop."""

    def __init__(self, root: str, folders: Mapping[str, str]) -> None:
        self._root = root
        self._folders = folders
        self._types = Types()
        self._etags = ETags()
        self._limit = _room()
        self._connections: "Dict[asyncio.Task[None], bool]" = {}  # whether it is at work on a request
        self._ending = False

    async def serve(self, address: str, port: int, over: asyncio.Event) -> None:
        """Serves until `over` is set. OSError when it cannot listen there."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = await asyncio.start_server(
            self._connection, address, port, family=family, limit=HEAD_LIMIT, backlog=BACKLOG
        )
        await over.wait()
        self._ending = True
        server.close()
        for task, busy in self._connections.items():
            if not busy:
                task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._limit or self._ending:
            writer.close()
            return
        self._connections[task] = False
        try:
            while await self._exchange(task, reader, writer):
                self._connections[task] = False
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the one in front went away, or speaks nonsense
        except asyncio.CancelledError:
            pass  # we end, and it had nothing under way
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(
        self, task: "asyncio.Task[None]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer. True while the connection may carry another."""
        head = await reader.readuntil(b"\r\n\r\n")
        self._connections[task] = True
        lines = head.decode("latin-1").split("\r\n")
        words, asked = lines[0].split(" "), _headers(lines[1:])
        if len(words) != 3 or not words[1].startswith("/"):
            await _say(writer, 400, keep=False)
            return False
        # What comes with a body is not read: the connection ends with the answer.
        body = asked.get("content-length", "0") != "0" or "transfer-encoding" in asked
        keep = not (body or self._ending) and words[2] == "HTTP/1.1" and asked.get("connection", "").lower() != "close"
        await self._answer(writer, words[0], words[1], asked, keep)
        return keep and not self._ending

    async def _answer(
        self, writer: asyncio.StreamWriter, method: str, target: str, asked: Mapping[str, str], keep: bool
    ) -> None:
        head_only = method == "HEAD"
        if method not in ("GET", "HEAD"):
            await _say(writer, 405, (("Allow", "GET, HEAD"),), keep=keep)
            return
        place = place_of(self._folders, target)
        try:
            if place is None:
                raise Missing
            found = find(self._root, place.folder, place.names, slash=place.slash)
        except Missing:
            await _say(writer, 404, keep=keep, head_only=head_only)
        except Forbidden:
            await _say(writer, 403, keep=keep, head_only=head_only)
        except NeedsSlash:
            path, question, query = target.partition("?")
            # Of two slashes at the beginning a browser would make the name of another host.
            where = f"/{path.lstrip('/')}/{question}{query}"
            await _say(writer, 301, (("Location", where),), keep=keep, head_only=head_only)
        except OSError:
            await _say(writer, 503, keep=keep, head_only=head_only)  # no descriptor or no memory: it passes
        else:
            # With its last descriptor the file is closed, whatever happens.
            with os.fdopen(found.descriptor, "rb", buffering=0) as file:
                await self._send(writer, file, found, asked, keep, head_only)

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        file: "BinaryIO",
        found: Found,
        asked: Mapping[str, str],
        keep: bool,
        head_only: bool,
    ) -> None:
        said = answer(asked, self._types.of(found.name), self._etags.of(found), found.modified, found.size)
        head = _head(said.status, said.headers, keep)
        if head_only or not said.count:
            writer.write(head)
        elif said.count < SENDFILE_FROM:
            data = os.pread(found.descriptor, said.count, said.begin)
            if len(data) < said.count:
                raise EOFError("the file became shorter")
            writer.write(head + data)
        else:
            writer.write(head)
            sent = await asyncio.get_running_loop().sendfile(writer.transport, file, said.begin, said.count)
            if sent < said.count:
                raise EOFError("the file became shorter")
        await writer.drain()


async def _say(
    writer: asyncio.StreamWriter, status: int, headers: Headers = (), *, keep: bool, head_only: bool = False
) -> None:
    text = f"{status} {_REASONS[status]}\n".encode()
    more = (("Content-Type", "text/plain"), ("Content-Length", str(len(text))))
    writer.write(_head(status, (*headers, *more), keep) + (b"" if head_only else text))
    await writer.drain()


def _head(status: int, headers: Headers, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, *([] if keep else ["Connection: close"]), "", ""]).encode("latin-1")


def _headers(lines: List[str]) -> Dict[str, str]:
    """The first of each name; header lines without a colon are none."""
    found: Dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _room() -> int:
    """How many connections there may be: each needs a descriptor, and one for its file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_LIMIT
    return max(min(CONNECTIONS_LIMIT, (soft - SPARE_FILES) // 2), 1)


async def _run(root: str, folders: Mapping[str, str], address: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    await StaticServer(root, folders).serve(address, port, over)


def run(root: str, folders: Mapping[str, str], address: str, port: int) -> int:
    """The exit status. OSError when nothing can be served there."""
    asyncio.run(_run(root, folders, address, port))
    return 0
