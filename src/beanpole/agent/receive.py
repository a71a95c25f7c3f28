"""The far end of a transfer: `agent.pyz receive --root DIR` takes content-addressed files on stdin into DIR/ab/abcdef….

First line in: {"wanted": [[sha256, size]…]}; first line out: {"missing": [[sha256, offset]…], "free": bytes}.
Then comes each file: a line {"sha256", "size", "offset"} and its bytes from that offset on: raw, or if "encoding" is
"zlib" in pieces (4-byte big-endian length, then that many bytes of one zlib stream, which goes on from file to file and
is flushed at the end of each piece). Each is answered by a line {"stored": sha256} or {"error", "kind", "sha256"}.
Exit statuses: 0 at the end of stdin between two files, 1 the disk takes no more, 6 the input breaks these rules,
7 stdin ended within a file or stalled.
"""

from __future__ import annotations

import errno
import json
import os
import select
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from .parts import SHA256, Parts, Stale

IDLE_SECONDS = 60.0  # without a byte from the sender, which has nothing to wait for
LINE_LIMIT = 64 * 1024 * 1024  # bytes of a line: 800,000 digests
PIECE = 1024 * 1024  # bytes in memory at a time; the most that a compressed piece may hold, on either side of zlib
FULL, VIOLATION, CUT = 1, 6, 7  # exit statuses
_LENGTH = struct.Struct(">I")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Violation(Exception):
    """The sender does not keep to the protocol."""


class Cut(Exception):
    """The sender is gone, or silent for too long."""


def receive(root: Path) -> int:
    """Serves stdin and stdout until stdin ends. The exit status."""
    os.umask(0o077)
    try:
        return Receiver(root, Source(sys.stdin.fileno()), sys.stdout.fileno()).run()
    except Violation as error:
        print(f"beanpole agent: the sender does not keep to the protocol: {error}", file=sys.stderr)
        return VIOLATION
    except Cut as error:
        print(f"beanpole agent: {error}", file=sys.stderr)
        return CUT


class Source:
    """What comes in, with a limit on every wait."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._bytes = bytearray()

    def line(self) -> bytes:
        """The next line; b"" at the end. Cut, Violation."""
        while True:
            end = self._bytes.find(b"\n")
            if end >= 0:
                line = bytes(self._bytes[: end + 1])
                del self._bytes[: end + 1]
                return line
            if len(self._bytes) > LINE_LIMIT:
                raise Violation(f"a line of more than {LINE_LIMIT} bytes")
            if not self._more():
                if self._bytes:
                    raise Cut("the sender's connection ended within a line")
                return b""

    def some(self, limit: int) -> bytes:
        """At least one byte, at most `limit`. Cut."""
        if not self._bytes and not self._more():
            raise Cut("the sender's connection ended within a file")
        data = bytes(self._bytes[:limit])
        del self._bytes[:limit]
        return data

    def exactly(self, amount: int) -> bytes:
        """That many bytes. Cut."""
        while len(self._bytes) < amount:
            if not self._more():
                raise Cut("the sender's connection ended within a file")
        return self.some(amount) if amount else b""

    def _more(self) -> bool:
        if not select.select([self._descriptor], [], [], IDLE_SECONDS)[0]:
            raise Cut(f"the sender was silent for {IDLE_SECONDS:g} s")
        try:
            data = os.read(self._descriptor, PIECE)
        except OSError as error:
            raise Cut(f"the sender's connection broke: {error.strerror}") from error
        self._bytes += data
        return bool(data)


class Receiver:
    """One transfer into the files below `root`."""

    def __init__(self, root: Path, source: Source, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._store = Parts(root)
        self._inflater = zlib.decompressobj()

    def run(self) -> int:
        line = self._source.line()
        if not line:
            return 0
        wanted = _wanted(_json(line))
        self._store.sweep(time.time())
        missing = [[sha256, offset] for sha256, offset in self._store.missing(wanted)]
        self._tell({"missing": missing, "free": self._store.free()})
        while True:
            line = self._source.line()
            if not line:
                return 0
            try:
                self._file(_json(line))
            except OSError as error:
                full = error.errno in _FULL
                self._tell(
                    {"error": error.strerror or str(error), "kind": "disk full" if full else "disk", "sha256": None}
                )
                return FULL

    def _file(self, head: Dict[str, Any]) -> None:
        sha256, size, offset = _digest(head.get("sha256")), _size(head.get("size")), _size(head.get("offset"))
        encoding = head.get("encoding", "raw")
        if encoding not in ("raw", "zlib"):
            raise Violation(f"{encoding!r} is no encoding")
        if offset > size:
            raise Violation(f"an offset of {offset} bytes in a file of {size}")
        pieces = self._inflated(size - offset) if encoding == "zlib" else self._raw(size - offset)
        try:
            found = self._store.store(sha256, offset, pieces)
        except Stale as error:
            for _ in pieces:
                pass  # the sender is in the middle of it
            self._tell({"error": str(error), "kind": "stale", "sha256": sha256})
            return
        if found == sha256:
            self._tell({"stored": sha256})
        else:
            self._tell({"error": f"what came has SHA-256 {found}", "kind": "damaged", "sha256": sha256})

    def _raw(self, left: int) -> Iterator[bytes]:
        while left:
            data = self._source.some(min(left, PIECE))
            left -= len(data)
            yield data

    def _inflated(self, left: int) -> Iterator[bytes]:
        while left:
            (length,) = _LENGTH.unpack(self._source.exactly(_LENGTH.size))
            if not 0 < length <= PIECE:
                raise Violation(f"a piece of {length} bytes; at most {PIECE} are allowed")
            try:
                data = self._inflater.decompress(self._source.exactly(length), PIECE + 1)
            except zlib.error as error:
                raise Violation(f"a piece that zlib cannot read: {error}") from error
            if not 0 < len(data) <= min(left, PIECE) or self._inflater.unconsumed_tail or self._inflater.eof:
                raise Violation(f"a piece that holds {len(data)} bytes, where {min(left, PIECE)} may come")
            left -= len(data)
            yield data

    def _tell(self, value: Dict[str, Any]) -> None:
        data = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._sink, data) :]
        except OSError as error:
            raise Cut(f"the sender listens no more: {error.strerror}") from error


def _json(line: bytes) -> Dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise Violation(f"a line that is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Violation("a line that is not a JSON object")
    return value


def _wanted(head: Dict[str, Any]) -> List[Tuple[str, int]]:
    wanted = head.get("wanted")
    if not isinstance(wanted, list):
        raise Violation("the first line does not say what is wanted")
    if not all(isinstance(entry, list) and len(entry) == 2 for entry in wanted):
        raise Violation("what is wanted are not digests with sizes")
    return [(_digest(sha256), _size(size)) for sha256, size in wanted]


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise Violation(f"{value!r} is no SHA-256 in lower-case hex")
    return value


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise Violation(f"{value!r} is no number of bytes")
    return value
