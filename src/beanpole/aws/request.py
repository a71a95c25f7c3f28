"""What a REST service (S3) gets of a request, and what it answers.

The body checks itself while it is read: its signed SHA-256, its checksums and trailers, its length. A reader that
reaches the end without an error holds exactly what the client sent; one that gets an error must throw away what it
read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from asyncio import timeout
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

from beanpole.aws.checksums import Digest, check_digest, new_digest
from beanpole.aws.chunked import AwsChunkedDecoder
from beanpole.aws.errors import AwsError
from beanpole.aws.sigv4 import UNSIGNED, Claim, Message

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

STALL = 60.0
"""Seconds that a client may send nothing in the middle of a body."""

UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKSUM_HEADER = re.compile(r"x-amz-checksum-([a-z0-9]+)")


@dataclass(frozen=True, slots=True)
class FileContent:
    """`length` bytes of an open file from where it stands. Whoever sends them closes it."""

    file: BinaryIO
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status, headers beyond those that every answer has, and the content."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | FileContent = b""


class Body:
    """The bytes of one upload; `length` is how many were announced, or None."""

    def __init__(self, receive: Receive, message: Message, payload_hash: str) -> None:
        self._receive = receive
        self._decoder = AwsChunkedDecoder() if payload_hash == UNSIGNED_TRAILER else None
        self._trailer = (message.header("x-amz-trailer") or "").strip().lower() if self._decoder else ""
        self._checks = _header_checks(message)
        trailing = _CHECKSUM_HEADER.fullmatch(self._trailer)
        self._trailer_digest = new_digest(trailing[1]) if trailing else None
        self._sha256 = payload_hash if _SHA256.fullmatch(payload_hash) else None
        self.length = _length(message, "x-amz-decoded-content-length" if self._decoder else "content-length")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content, piece by piece, each at most what the HTTP server buffers. Once only.

        Raises AwsError when the body is not what the request said (XAmzContentSHA256Mismatch, BadDigest,
        IncompleteBody), at the latest after the last piece; RequestTimeout when the client stops sending.
        """
        digests: list[Digest] = [digest for _, digest, _ in self._checks]
        if self._trailer_digest is not None:
            digests.append(self._trailer_digest)
        sha256 = hashlib.sha256()
        size = 0
        async for raw in self._raw():
            data = self._decoder.feed(raw) if self._decoder else raw
            if not data:
                continue
            size += len(data)
            if self._sha256 is not None:
                sha256.update(data)
            for digest in digests:
                digest.update(data)
            yield data
        self._finish(sha256.hexdigest(), size)

    async def read(self, limit: int) -> bytes:
        """All of it; EntityTooLarge when it has more than `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise AwsError("EntityTooLarge", f"The body has more than {limit} bytes.", 413)
            parts.append(chunk)
        return b"".join(parts)

    async def _raw(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            try:
                async with timeout(STALL):
                    message = await self._receive()
            except TimeoutError:
                raise AwsError("RequestTimeout", f"Nothing of the body arrived for {STALL:.0f} s.") from None
            if message["type"] == "http.disconnect":
                raise AwsError("IncompleteBody", "The connection ended before the body did.")
            more = message.get("more_body", False)
            yield message.get("body", b"")

    def _finish(self, sha256: str, size: int) -> None:
        if self._decoder:
            self._decoder.finish()
            if self._trailer and self._trailer not in self._decoder.trailers:
                raise AwsError("MalformedTrailerError", f"The announced trailer {self._trailer} did not arrive.")
        if self.length is not None and size != self.length:
            raise AwsError("IncompleteBody", f"The body has {size} bytes; {self.length} were announced.")
        if self._sha256 is not None and not hmac.compare_digest(sha256, self._sha256):
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The SHA-256 of the body is not the one that was signed.",
                ClientComputedContentSHA256=self._sha256,
                S3ComputedContentSHA256=sha256,
            )
        for name, digest, expected in self._checks:
            check_digest(name, digest, expected)
        if self._decoder and self._trailer_digest is not None:
            check_digest(self._trailer, self._trailer_digest, self._decoder.trailers[self._trailer])


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a REST service. `path` is raw (percent-encoded) and begins with a slash, below any mount point."""

    message: Message
    path: bytes
    query: Mapping[str, str]
    body: Body

    @property
    def method(self) -> str:
        return self.message.method

    def header(self, name: str) -> str | None:
        """The values of a header (name in lower case) joined by commas, or None."""
        return self.message.header(name)


def parse_query(query: bytes) -> dict[str, str]:
    """The decoded query of a URL; of a repeated name the first value. InvalidArgument when it is not UTF-8."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except (UnicodeDecodeError, ValueError):
        raise AwsError("InvalidArgument", "The query is not percent-encoded UTF-8 of at most 100 names.") from None
    return dict(reversed(pairs))


def declared_payload_hash(message: Message, claim: Claim, query: Mapping[str, str]) -> str:
    """What stands for the body in the signature of an S3 request: its SHA-256 in hex, or a word for an unsigned one."""
    declared = message.header("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256")
    if declared is None and claim.expires is not None:
        return UNSIGNED
    if declared in (UNSIGNED, UNSIGNED_TRAILER) or _SHA256.fullmatch(declared or ""):
        return str(declared)
    if (declared or "").startswith("STREAMING-"):
        raise AwsError(
            "NotImplemented",
            f"Chunks with signatures of their own are not supported; send {UNSIGNED_TRAILER}, {UNSIGNED} or the body's "
            "SHA-256 as x-amz-content-sha256.",
            501,
        )
    raise AwsError(
        "InvalidArgument", f"x-amz-content-sha256 must be the SHA-256 of the body, {UNSIGNED} or {UNSIGNED_TRAILER}."
    )


def _header_checks(message: Message) -> list[tuple[str, Digest, str]]:
    checks: list[tuple[str, Digest, str]] = []
    if message.method == "POST" and b"uploadId=" in message.query:
        return checks  # completing an upload: there they speak of the object, not of this body
    for raw_name, value in message.headers:
        name = raw_name.decode("latin-1")
        found = _CHECKSUM_HEADER.fullmatch(name)
        digest = new_digest(found[1] if found else "md5" if name == "content-md5" else "")
        if digest is not None:
            checks.append((name, digest, value.decode("latin-1").strip()))
    return checks


def _length(message: Message, header: str) -> int | None:
    value = message.header(header)
    if value is None:
        if header != "content-length":
            raise AwsError("MissingContentLength", f"An aws-chunked body needs the header {header}.", 411)
        return None
    if not re.fullmatch("[0-9]{1,15}", value):
        raise AwsError("InvalidArgument", f"The header {header} must be a number of bytes.")
    return int(value)
