"""The `aws-chunked` content encoding: chunks without signatures, then trailers.

Pure: fed with bytes as they arrive, gives the bytes of the content. Nothing is kept but the line that is not complete.
"""

from __future__ import annotations

import re

from beanpole.aws.errors import AwsError

MAX_LINE = 1024
"""Bytes of a chunk's size line or of one trailer. Real ones have less than 100."""

MAX_TRAILERS = 16
"""Lines. Clients send one."""

_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})(;.*)?")


class AwsChunkedDecoder:
    """`feed` every piece, then `finish`; `trailers` are complete after that, names in lower case."""

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
        self._line = b""
        self._left = 0  # bytes of the current chunk that are still to come
        self._expects = "size"  # size, data, end of data, trailer, nothing

    def feed(self, data: bytes) -> bytes:
        """The content bytes in the next piece of the stream. IncompleteBody for what is no such stream."""
        content: list[bytes] = []
        while data:
            if self._expects == "data":
                piece, data = data[: self._left], data[self._left :]
                content.append(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._expects = "end of data"
            else:
                line, data = self._take_line(data)
                if line is not None:
                    self._handle_line(line)
        return b"".join(content)

    def finish(self) -> None:
        """The stream has ended; IncompleteBody when that was too early."""
        if self._expects == "trailer" and self._line:
            self._handle_line(self._line)  # some clients leave out the last line's end
        if self._expects not in ("trailer", "nothing"):
            raise _malformed("it ends before its last chunk")

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
                size = _SIZE.fullmatch(line)
                if size is None:
                    raise _malformed("a chunk does not begin with its size")
                self._left = int(size[1], 16)
                self._expects = "data" if self._left else "trailer"
            case "end of data":
                if line:
                    raise _malformed("a chunk is longer than its size")
                self._expects = "size"
            case "trailer" if line:
                name, _, value = line.decode("latin-1").partition(":")
                self.trailers[name.strip().lower()] = value.strip()
                if len(self.trailers) > MAX_TRAILERS:
                    raise _malformed(f"it has more than {MAX_TRAILERS} trailers")
            case "trailer":
                self._expects = "nothing"
            case _:
                raise _malformed("something follows its end")


def _malformed(why: str) -> AwsError:
    return AwsError("IncompleteBody", f"The aws-chunked body is malformed: {why}.")
