"""Keeps log files of processes at about 3 × 10 MB, while the processes go on writing, without losing a line.

A process holds its log file open, so the file cannot be renamed away from it. Its beginning is copied to NAME.1 and
then cut out of it: in one step of the filesystem where it can do that (ext4, XFS), else by truncating right after a
last look, which leaves a writer some microseconds in which a line of its would be lost. Of a file that grew far beyond
10 MB between two looks only the end is kept. On a full disk lines have to go, so that there is room again: the file is
cut without a copy then, and what was rotated before stays.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import List

from .fulldisk import is_full

SIZE_LIMIT = 10 * 1024 * 1024  # bytes of one file
KEPT = 2  # rotated files beside the live one
PIECE = 1024 * 1024  # bytes copied at a time
COLLAPSE_RANGE = 0x08  # FALLOC_FL_COLLAPSE_RANGE


def rotate_folder(folder: Path, limit: int = SIZE_LIMIT) -> List[Path]:
    """Rotates each process's log in `folder` that has grown beyond `limit` bytes. Those that were cut without a copy.

    OSError, after all others were rotated, when one cannot be.
    """
    cut: List[Path] = []
    failed: List[OSError] = []
    for path in sorted(folder.glob("*.stdout.log")):
        try:
            if path.stat().st_size > limit and not rotate(path):
                cut.append(path)
        except OSError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return cut


def rotate(path: Path) -> bool:
    """Moves what is in the file now to NAME.1 (and NAME.1 to NAME.2), leaving what is written meanwhile.

    False when there was no room for the copy: what was in the file is gone then, the rotated files are as they were.
    """
    source = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        status = os.fstat(source)
        # Filesystems want whole blocks, and something left at the end: at most one block stays in the live file.
        whole = (status.st_size - 1) // status.st_blksize * status.st_blksize
        try:
            _move(path, source, whole)
        except OSError as error:
            if not is_full(error):
                raise
            if not _collapse(source, whole):
                os.ftruncate(source, 0)
            return False
    finally:
        os.close(source)
    return True


def move_along(path: Path, kept: int) -> None:
    """NAME.1 becomes NAME.2 and so on; what would be beyond `kept` files goes."""
    for number in range(kept, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{number - 1}").replace(path.with_name(f"{path.name}.{number}"))


def _move(path: Path, source: int, whole: int) -> None:
    draft = path.with_name(f".{path.name}.1")
    try:
        target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _copy(source, target, _begin(source, whole), whole)
            # Only now: copies that fail again and again must not push out what was rotated before.
            move_along(path, KEPT)
            draft.replace(path.with_name(f"{path.name}.1"))
            if not _collapse(source, whole):
                _truncate(source, target, whole)
        finally:
            os.close(target)
    finally:
        draft.unlink(missing_ok=True)


def _begin(source: int, end: int) -> int:
    """Where the last SIZE_LIMIT bytes before `end` begin, at a line if one begins soon."""
    begin = end - SIZE_LIMIT
    if begin <= 0:
        return 0
    return begin + os.pread(source, min(PIECE, SIZE_LIMIT), begin).find(b"\n") + 1


def _copy(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        piece = os.pread(source, min(PIECE, end - begin), begin)
        if not piece:
            return
        begin += os.write(target, piece)  # which may be less than the piece, right before the disk is full


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
