"""One look at a process from outside: does it take connections, does it answer as it should."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .deadline import within
from .failure import JobFailure, last_lines

HEAD_LIMIT = 16 * 1024  # bytes of an answer's head
BODY_SHOWN = 2048  # bytes of a body that are read for the first lines of an error page
LINES_SHOWN = 5
CONNECT_SECONDS = 1.0  # on this machine; only a full queue of connections delays it
DEFAULT_TIMEOUT = 5.0  # seconds: Beanstalk's HealthCheckTimeout


@dataclass(frozen=True)
class Health:
    """What counts as healthy. Without a path: taking a connection.

    `host` is the name that the request bears: some applications answer to their own names only.
    """

    path: Optional[str]
    codes: Tuple[Tuple[int, int], ...]
    timeout: float
    host: Optional[str]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Health:
        """From {"path", "codes": [[200, 399]], "timeout", "host"}; all may be missing. JobFailure for nonsense."""
        try:
            codes = tuple((int(low), int(high)) for low, high in values.get("codes") or [[200, 399]])
            timeout = float(values.get("timeout") or DEFAULT_TIMEOUT)
        except (TypeError, ValueError) as error:
            raise JobFailure("health", f"these health settings cannot be read: {dict(values)!r}") from error
        path, host = values.get("path") or None, values.get("host") or None
        if any(text is not None and (not isinstance(text, str) or not text.isprintable()) for text in (path, host)):
            raise JobFailure("health", f"the health path {path!r} or host {host!r} is no plain text")
        if path is not None and (not path.startswith("/") or " " in path):
            raise JobFailure("health", f"the health path {path!r} must begin with / and hold no space")
        return cls(path, codes, timeout, host)

    def accepts(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.codes)


@dataclass(frozen=True)
class Answer:
    """What a probe found. `listens` is False when no connection was taken."""

    ok: bool
    listens: bool
    words: str
    lines: Sequence[str] = ()


async def first_listening(addresses: Sequence[str], port: int) -> Optional[str]:
    """The first of the addresses that takes a connection on that port."""
    for address in addresses:
        try:
            _, writer = await within(CONNECT_SECONDS, asyncio.open_connection(address, port))
        except (OSError, asyncio.TimeoutError):
            continue
        # On loopback, a connection to a port on which nobody listens can meet itself.
        itself = writer.get_extra_info("sockname") == writer.get_extra_info("peername")
        writer.close()
        if not itself:
            return address
    return None


async def probe(address: str, port: int, health: Health) -> Answer:
    """One check. Never raises: what goes wrong is the finding."""
    if health.path is None:
        taken = await first_listening([address], port) is not None
        return Answer(taken, taken, "took a connection" if taken else "refused the connection")
    try:
        return await within(health.timeout, _ask(address, port, health, health.path))
    except asyncio.TimeoutError:
        return Answer(False, True, f"gave no answer within {health.timeout:g} s")
    except ConnectionRefusedError:
        return Answer(False, False, "refused the connection")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        return Answer(False, True, f"closed the connection without an answer ({type(error).__name__})")
    except ValueError:
        return Answer(False, True, "answered something that is not HTTP")


async def _ask(address: str, port: int, health: Health, path: str) -> Answer:
    reader, writer = await asyncio.open_connection(address, port, limit=HEAD_LIMIT)
    try:
        place = f"[{address}]" if ":" in address else address
        host = health.host or f"{place}:{port}"
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Beanpole-HealthCheck/1\r\nAccept: */*\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(request.encode("utf-8"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, rest = head[0].partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/") or not code.isdigit():
            raise ValueError(head[0])
        words = f"answered {code} {reason}".strip()
        if health.accepts(int(code)):
            return Answer(True, True, words)
        return Answer(False, True, words, first_lines(await _some(reader, fields(head[1:]))))
    finally:
        writer.close()


async def _some(reader: asyncio.StreamReader, fields: Dict[str, str]) -> bytes:
    """The beginning of the body."""
    length = fields.get("content-length", "")
    wanted = min(int(length), BODY_SHOWN) if length.isdigit() else BODY_SHOWN
    data = b""
    while len(data) < wanted:
        piece = await reader.read(wanted - len(data))
        if not piece:
            break
        data += piece
    if fields.get("transfer-encoding", "").lower() == "chunked":
        data = data.partition(b"\r\n")[2]  # the size of the first chunk
    return data


def fields(lines: Sequence[str]) -> Dict[str, str]:
    """The headers of an answer, names in lower case."""
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def first_lines(body: bytes) -> List[str]:
    """The first lines that say something."""
    lines = [line.strip() for line in last_lines(body, count=10_000)]
    return [line for line in lines if line][:LINES_SHOWN]
