"""Keeps log files of processes below 3 × 10 MB, while the processes go on writing, without losing a line.

A process holds its log file open, so the file cannot be renamed away from it. Its beginning is copied to NAME.1 and
then cut out of it: in one step of the filesystem where it can do that (ext4, XFS), else by truncating right after a
last look, which leaves a writer some microseconds in which a line of its would be lost.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE_LIMIT = 10 * 1024 * 1024  # bytes of one file
KEPT = 2  # rotated files beside the live one
PIECE = 1024 * 1024  # bytes copied at a time
COLLAPSE_RANGE = 0x08  # FALLOC_FL_COLLAPSE_RANGE


def rotate_folder(folder: Path, limit: int = SIZE_LIMIT) -> None:
    """Rotates each process's log in `folder` that has grown beyond `limit` bytes."""
    for path in folder.glob("*.stdout.log"):
        if path.stat().st_size > limit:
            rotate(path)


def rotate(path: Path) -> None:
    """Moves what is in the file now to NAME.1 (and NAME.1 to NAME.2), leaving what is written meanwhile."""
    move_along(path, KEPT)
    first = path.with_name(f"{path.name}.1")
    source = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        target = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(source)
            # Filesystems want whole blocks, and something left at the end: at most one block stays in the live file.
            whole = (status.st_size - 1) // status.st_blksize * status.st_blksize
            _copy(source, target, 0, whole)
            if not _collapse(source, whole):
                _truncate(source, target, whole)
        finally:
            os.close(target)
    finally:
        os.close(source)


def move_along(path: Path, kept: int) -> None:
    """NAME.1 becomes NAME.2 and so on; what would be beyond `kept` files goes."""
    for number in range(kept, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{number - 1}").replace(path.with_name(f"{path.name}.{number}"))


def _copy(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        piece = os.pread(source, min(PIECE, end - begin), begin)
        if not piece:
            return
        os.write(target, piece)
        begin += len(piece)


def _truncate(source: int, target: int, copied: int) -> None:
    while True:
        size = os.fstat(source).st_size
        if size == copied:
            os.ftruncate(source, 0)
            return
        _copy(source, target, copied, size)
        copied = size


def _collapse(descriptor: int, length: int) -> bool:
    """Removes the first `length` bytes of the file in one step. False where the filesystem cannot."""
    import ctypes  # here, because a rotation is rare

    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None or length <= 0:
        return False
    size = ctypes.c_int64
    return bool(fallocate(descriptor, COLLAPSE_RANGE, size(0), size(length)) == 0)
