"""Files that are whole after any crash: written beside their place, synced, renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Damaged(Exception):
    """A file of ours that cannot be read, though we write none by halves."""


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces `path` by `data`. Whoever reads it, also after a power cut, sees the old file or the new one."""
    draft = path.with_name(f".{path.name[:200]}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever our umask is
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """The value as JSON, 0600."""
    write(path, json.dumps(value, separators=(",", ":")).encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote, or None when there is no such file. Damaged when somebody else changed it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return json.loads(data)
    except ValueError as error:
        raise Damaged(f"{path} is damaged ({error}): restore or remove it") from error


def sync_folder(folder: Path) -> None:
    """Makes renames and removals in `folder` last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(path: Path, target: str) -> None:
    """Lets the symlink `path` point to `target`; at no moment is there none."""
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    draft.symlink_to(target)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_all(folder: Path) -> None:
    """Everything written so far to the filesystem of `folder` is on disk when this returns (may take seconds)."""
    # syncfs spares other filesystems (a slow network mount must not delay a commit); `os` has only sync.
    import ctypes  # here, because most runs of an agent never need it

    libc = ctypes.CDLL(None, use_errno=True)
    syncfs = getattr(libc, "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), f"cannot sync {folder}")
    finally:
        os.close(descriptor)
