"""The body of a request to a REST service (S3), which checks itself while it is read.

Its signed SHA-256 or its signed chunks, its checksums and trailers, its length: a reader that reaches the end without
an error holds exactly what the client sent; one that gets an error must throw away what it read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from asyncio import timeout
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from beanpole.aws.checksums import Digest, check_digest, new_digest
from beanpole.aws.chunk_signatures import SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER, ChunkSignatures
from beanpole.aws.chunked import AwsChunkedDecoder
from beanpole.aws.errors import AwsError
from beanpole.aws.sigv4 import UNSIGNED, Claim, Message

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

STALL = 60.0
"""Seconds that a client may send nothing in the middle of a body."""

UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

CHUNKED = (UNSIGNED_TRAILER, SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER)
"""The words that stand for a body in chunks where its SHA-256 would be."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKSUM_HEADER = re.compile(r"x-amz-checksum-([a-z0-9]+)")


class Body:
    """The bytes of one upload; `length` is how many were announced, or None.

    `checksums` are those that came with it and were found right, in base64 by algorithm; complete once it was read.
    """

    def __init__(
        self, receive: Receive, message: Message, payload_hash: str, signatures: ChunkSignatures | None = None
    ) -> None:
        self.checksums: dict[str, str] = {}
        self._receive = receive
        self._decoder = _decoder(payload_hash, signatures)
        self._trailer = (message.header("x-amz-trailer") or "").strip().lower() if self._decoder else ""
        self._checks = _header_checks(message)
        trailing = _CHECKSUM_HEADER.fullmatch(self._trailer)
        self._trailer_digest = new_digest(trailing[1]) if trailing else None
        self._sha256 = payload_hash if _SHA256.fullmatch(payload_hash) else None
        self.length = _length(message, "x-amz-decoded-content-length" if self._decoder else "content-length")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content, piece by piece, each at most what the HTTP server buffers. Once only.

        Raises AwsError when the body is not what the request said (XAmzContentSHA256Mismatch, SignatureDoesNotMatch,
        BadDigest, IncompleteBody), at the latest after the last piece; RequestTimeout when the client stops sending.
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
        checks = list(self._checks)
        if self._decoder and self._trailer_digest is not None:
            checks.append((self._trailer, self._trailer_digest, self._decoder.trailers[self._trailer]))
        for name, digest, expected in checks:
            check_digest(name, digest, expected)
            if algorithm := _CHECKSUM_HEADER.fullmatch(name):
                self.checksums[algorithm[1]] = expected


def declared_payload_hash(message: Message, claim: Claim, query: Mapping[str, str]) -> str:
    """What stands for the body in the signature of an S3 request: its SHA-256 in hex, or a word for another proof."""
    declared = message.header("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256")
    if declared is None and claim.expires is not None:
        return UNSIGNED
    if declared in (UNSIGNED, *CHUNKED) or _SHA256.fullmatch(declared or ""):
        return str(declared)
    if (declared or "").startswith("STREAMING-"):
        what = "Chunks that are signed in this way are not supported"
        raise AwsError("NotImplemented", f"{what}; as x-amz-content-sha256 send one of {', '.join(CHUNKED)}.", 501)
    raise AwsError(
        "InvalidArgument", f"x-amz-content-sha256 must be the SHA-256 of the body, {UNSIGNED} or {UNSIGNED_TRAILER}."
    )


def _decoder(payload_hash: str, signatures: ChunkSignatures | None) -> AwsChunkedDecoder | None:
    if payload_hash not in CHUNKED:
        return None
    if payload_hash == UNSIGNED_TRAILER:
        return AwsChunkedDecoder()
    if signatures is None:
        raise ValueError("signed chunks need their signatures checked")
    return AwsChunkedDecoder(signatures, trailing=payload_hash == SIGNED_CHUNKS_AND_TRAILER)


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
