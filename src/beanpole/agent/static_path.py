"""What a request's target means below the folders that are served. Pure.

Nothing that comes out of here can leave a folder: a path with `..` or a hidden name in it means no file at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence, Tuple
from urllib.parse import unquote_to_bytes

VISIBLE = b".well-known"  # the one hidden name that is meant for the public (RFC 8615)


@dataclass(frozen=True)
class Place:
    """A file or folder: `names` below `folder`, which is below the bundle. `slash`: the target ends with one."""

    folder: str
    names: Tuple[str, ...]
    slash: bool


def place_of(folders: Mapping[str, str], target: str) -> Optional[Place]:
    """Where the target (as the client wrote it) leads, by the longest mapped path; None: to nothing that is served."""
    raw = target.partition("?")[0].partition("#")[0]
    path = max((path for path in folders if _covers(path, raw)), key=len, default=None)
    if path is None:
        return None
    rest = unquote_to_bytes(raw[len(path) if path != "/" else 0 :])
    names = [name for name in rest.split(b"/") if name]
    if b"\0" in rest or is_hidden(names):
        return None
    return Place(folders[path], tuple(os.fsdecode(name) for name in names), rest.endswith(b"/"))


def is_hidden(names: Sequence[bytes]) -> bool:
    """Whether a name begins with a dot: `.`, `..`, `.git`, `.env`."""
    return any(name.startswith(b".") and name != VISIBLE for name in names)


def _covers(path: str, raw: str) -> bool:
    return path == "/" or raw == path or raw.startswith(f"{path}/")
