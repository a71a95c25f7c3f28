"""What is answered about a file: all of it, a part, or that the client has it already (RFC 9110). Pure.

As nginx does it: a time counts only when it is exactly the file's, and of several ranges none does.
"""

from __future__ import annotations

import mimetypes
import re
import time
from dataclasses import dataclass
from typing import List, Mapping, Optional, Tuple

UNKNOWN = "application/octet-stream"
# What Python's own table lacks in some versions, or has otherwise than browsers want it.
_MORE = {
    ".avif": "image/avif", ".js": "text/javascript", ".json": "application/json", ".map": "application/json",
    ".md": "text/markdown", ".mjs": "text/javascript", ".otf": "font/otf", ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webm": "video/webm", ".webmanifest": "application/manifest+json", ".webp": "image/webp", ".woff": "font/woff",
    ".woff2": "font/woff2", ".xml": "text/xml", ".ico": "image/x-icon", ".txt": "text/plain",
}  # fmt: skip
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_RANGE = re.compile(r"bytes=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*")


class Types:
    """Content types by the ending of a name: the same on every machine, whatever its /etc/mime.types says."""

    def __init__(self) -> None:
        self._table = mimetypes.MimeTypes()
        for ending, kind in _MORE.items():
            self._table.add_type(kind, ending)

    def of(self, name: str) -> str:
        kind, packing = self._table.guess_type(f"./{name}")
        return _PACKED.get(packing, UNKNOWN) if packing is not None else kind or UNKNOWN


@dataclass(frozen=True)
class Answer:
    """`count` bytes from `begin` on, if any."""

    status: int
    headers: Tuple[Tuple[str, str], ...]
    begin: int = 0
    count: int = 0


def answer(asked: Mapping[str, str], kind: str, etag: str, modified: int, size: int) -> Answer:
    """To a GET or HEAD with these headers (lower-case names) about a file of that type, ETag, time and size."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(modified))
    about: List[Tuple[str, str]] = [("Last-Modified", date), ("ETag", etag)]
    if _has_it(asked, etag, date):
        return Answer(304, tuple(about))
    about = [("Content-Type", kind), *about, ("Accept-Ranges", "bytes")]
    wanted = _range(asked.get("range"), size) if asked.get("if-range") in (None, etag, date) else None
    if wanted is None:
        return Answer(200, (("Content-Length", str(size)), *about), 0, size)
    begin, count = wanted
    if count <= 0:
        return Answer(416, (("Content-Length", "0"), ("Content-Range", f"bytes */{size}")))
    part = ("Content-Range", f"bytes {begin}-{begin + count - 1}/{size}")
    return Answer(206, (("Content-Length", str(count)), *about, part), begin, count)


def _has_it(asked: Mapping[str, str], etag: str, date: str) -> bool:
    known = asked.get("if-none-match")
    if known is None:
        return asked.get("if-modified-since") == date
    tags = [tag.strip() for tag in known.split(",")]
    return "*" in tags or any(tag[2:] == etag if tag.startswith("W/") else tag == etag for tag in tags)


def _range(text: Optional[str], size: int) -> Optional[Tuple[int, int]]:
    """Where the part begins and how long it is (0: there is none of it); None: all is wanted, or nobody knows what."""
    match = _RANGE.fullmatch(text) if text is not None else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        count = min(int(match[2]), size)
        return size - count, count
    begin = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < begin:
        return None
    return begin, max(last - begin + 1, 0)
