"""Opens the file of a release that a request means, and gives it an ETag.

Links are followed as long as they stay in the folder. What is opened is reached name by name from the folder without
following any link, so nobody who exchanges a name meanwhile leads outside. Devices and pipes are not opened.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from typing import Sequence, Tuple

from .static_path import is_hidden

INDEX = "index.html"
HASHED_LIMIT = 1024 * 1024  # bytes of a file that is read for its ETag: a millisecond
REMEMBERED = 4096  # files whose ETag is kept: some 100 bytes each

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)


class Missing(Exception):
    """There is no such file, or none for the public."""


class Forbidden(Exception):
    """It is there, and cannot be read or is a folder without an index."""


class NeedsSlash(Exception):
    """It is a folder with an index, whose links are relative to it: its address must end with a slash."""


@dataclass(frozen=True)
class Found:
    """An open file. Whoever got it closes `descriptor`."""

    descriptor: int
    name: str
    size: int
    modified: int
    """Seconds since 1970."""
    stamp: Tuple[int, int, int, int]
    """Changes with the content."""


def find(root: str, folder: str, names: Sequence[str], *, slash: bool) -> Found:
    """The file at these names below `folder`, which is below `root`; of a folder its index. Missing, Forbidden,
    NeedsSlash; OSError when the system is out of something."""
    base = os.path.realpath(f"{root}/{folder}")
    if not _within(os.path.realpath(root), base):
        raise Missing
    try:
        found = _open(base, names)
        if isinstance(found, Found):
            if slash:
                os.close(found.descriptor)
                raise Missing
            return found
        try:
            index = _open(base, (*names, INDEX))
        except FileNotFoundError as error:
            raise Forbidden from error
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise Missing from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Forbidden from error
        raise
    if not isinstance(index, Found):
        raise Forbidden
    if not slash:
        os.close(index.descriptor)
        raise NeedsSlash
    return index


def _open(base: str, names: Sequence[str]) -> "Found | None":
    """The file; None for a folder."""
    try:
        return _descend(base, names)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
    real = os.path.realpath("/".join((base, *names)))
    if real == base:
        return _descend(base, ())
    if not _within(base, real):
        raise Missing
    resolved = real[len(base) :].strip("/").split("/")
    if is_hidden([os.fsencode(name) for name in resolved]):
        raise Missing
    return _descend(base, resolved)


def _descend(base: str, names: Sequence[str]) -> "Found | None":
    """None for a folder. OSError where a name is a link."""
    if not names:
        # The mapped thing itself, which may be a single file.
        return _opened(os.open(base, _FILE), base.rpartition("/")[2])
    here = os.open(base, _FOLDER)
    try:
        for name in names[:-1]:
            below = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        return _opened(os.open(names[-1], _FILE, dir_fd=here), names[-1])
    finally:
        os.close(here)


def _opened(descriptor: int, name: str) -> "Found | None":
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        return Found(descriptor, name, status.st_size, int(status.st_mtime), stamp)
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        return None
    raise Missing


def _within(base: str, path: str) -> bool:
    return path == base or path.startswith(base.rstrip("/") + "/")


class ETags:
    """By content, as far as that is quickly read: one file has one ETag on all instances and in all releases, so that
    a deployment makes nobody fetch again what is as it was. A large one has its time and size in it instead."""

    def __init__(self) -> None:
        self._known: "OrderedDict[Tuple[int, int, int, int], str]" = OrderedDict()

    def of(self, found: Found) -> str:
        etag = self._known.get(found.stamp)
        if etag is None:
            etag = self._known[found.stamp] = _etag(found)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(found.stamp)
        return etag


def _etag(found: Found) -> str:
    if found.size > HASHED_LIMIT:
        return f'"{found.stamp[2]:x}-{found.size:x}"'
    return f'"{hashlib.sha256(os.pread(found.descriptor, found.size, 0)).hexdigest()[:24]}"'
