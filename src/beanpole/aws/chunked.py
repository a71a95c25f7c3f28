"""The `aws-chunked` content encoding: chunks, with signatures of their own or without, then trailers.

Pure: fed with bytes as they arrive, gives the bytes of the content. Nothing is kept but the line that is not complete.
The content of a signed chunk is given before its signature can be checked: who reads must throw all of it away when
an error follows, at the latest from `finish`.
"""

from __future__ import annotations

import hashlib
import re

from beanpole.aws.chunk_signatures import ChunkSignatures
from beanpole.aws.errors import AwsError

MAX_LINE = 1024
"""Bytes of a chunk's size line or of one trailer. Real ones have less than 150."""

MAX_TRAILERS = 16
"""Lines. Clients send one, and its signature."""

TRAILER_SIGNATURE = "x-amz-trailer-signature"

_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})(?:;.*)?()")
_SIGNED_SIZE = re.compile(rb"([0-9a-fA-F]{1,16});chunk-signature=([0-9a-f]{64})")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class AwsChunkedDecoder:
    """`feed` every piece, then `finish`; `trailers` are complete after that, names in lower case.

    With `signatures` every chunk must bear the right one; then there may be trailers only if `trailing` is set, and
    these must be signed.
    """

    def __init__(self, signatures: ChunkSignatures | None = None, *, trailing: bool = True) -> None:
        self.trailers: dict[str, str] = {}
        self._signatures = signatures
        self._trailing = trailing
        self._line = b""
        self._left = 0  # bytes of the current chunk that are still to come
        self._expects = "size"  # size, data, end of data, trailer, nothing
        self._signature = ""  # of the current chunk
        self._sha256 = hashlib.sha256()

    def feed(self, data: bytes) -> bytes:
        """The content bytes in the next piece of the stream. IncompleteBody for what is no such stream."""
        content: list[bytes] = []
        while data:
            if self._expects == "data":
                piece, data = data[: self._left], data[self._left :]
                content.append(piece)
                self._take(piece)
            else:
                line, data = self._take_line(data)
                if line is not None:
                    self._handle_line(line)
        return b"".join(content)

    def finish(self) -> None:
        """The stream has ended; IncompleteBody when that was too early."""
        if self._expects == "trailer":  # some clients leave out the last line, or its end
            if self._line:
                self._handle_line(self._line)
            self._end()
        if self._expects != "nothing":
            raise _malformed("it ends before its last chunk")

    def _take(self, piece: bytes) -> None:
        if self._signatures is not None:
            self._sha256.update(piece)
        self._left -= len(piece)
        if self._left == 0:
            self._check_chunk()
            self._expects = "end of data"

    def _take_line(self, data: bytes) -> tuple[bytes | None, bytes]:
        before, found, after = data.partition(b"\n")
        self._line += before
        if len(self._line) > MAX_LINE:
            raise _malformed(f"a line has more than {MAX_LINE} bytes")
        if not found:
            return None, b""
        line, self._line = self._line.removesuffix(b"\r"), b""
        return line, after

    def _handle_line(self, line: bytes) -> None:
        match self._expects:
            case "size":
                self._begin_chunk(line)
            case "end of data":
                if line:
                    raise _malformed("a chunk is longer than its size")
                self._expects = "size"
            case "trailer" if line:
                self._add_trailer(line)
            case "trailer":
                self._end()
            case _:
                raise _malformed("something follows its end")

    def _begin_chunk(self, line: bytes) -> None:
        found = (_SIZE if self._signatures is None else _SIGNED_SIZE).fullmatch(line)
        if found is None:
            with_it = "" if self._signatures is None else " and its signature"
            raise _malformed(f"a chunk does not begin with its size{with_it}")
        self._left, self._signature, self._sha256 = int(found[1], 16), found[2].decode(), hashlib.sha256()
        self._expects = "data"
        if not self._left:
            self._check_chunk()
            self._expects = "trailer"

    def _check_chunk(self) -> None:
        if self._signatures is not None:
            self._signatures.check_chunk(self._sha256.hexdigest(), self._signature)

    def _add_trailer(self, line: bytes) -> None:
        if not self._trailing:
            raise _malformed("it has trailers that were not announced")
        if self._signatures is not None and TRAILER_SIGNATURE in self.trailers:
            raise _malformed("something follows the signature of its trailers")
        name, _, value = line.decode("latin-1").partition(":")
        self.trailers[name.strip().lower()] = value.strip()
        if len(self.trailers) > MAX_TRAILERS:
            raise _malformed(f"it has more than {MAX_TRAILERS} trailers")

    def _end(self) -> None:
        """All trailers are there."""
        self._expects = "nothing"
        if self._signatures is not None and self._trailing:
            signature = self.trailers.pop(TRAILER_SIGNATURE, "")
            if not _SIGNATURE.fullmatch(signature):
                raise AwsError("MalformedTrailerError", "The signature of the body's trailers is missing or malformed.")
            self._signatures.check_trailers(self.trailers, signature)


def _malformed(why: str) -> AwsError:
    return AwsError("IncompleteBody", f"The aws-chunked body is malformed: {why}.")
