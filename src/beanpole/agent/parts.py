"""Content-addressed files as they arrive: whole ones are DIR/ab/abcdef…, begun ones DIR/incoming/SHA256.part.

Only a digest ever becomes a path, and a file gets its name when its content has that digest and is on disk. Several
processes may receive the same file at once; a part that was begun is gone on with.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Tuple

PIECE = 1024 * 1024  # bytes in memory at a time
STALE_SECONDS = 7 * 86400.0  # age at which a part that nobody went on with is removed
SHA256 = re.compile(r"[0-9a-f]{64}")


class Stale(Exception):
    """There is less of the file than the sender was told: somebody else began it anew."""


class Parts:
    """Files below one folder: whole ones under their digest, begun ones in `incoming`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._incoming.mkdir(exist_ok=True, mode=0o700)

    def free(self) -> int:
        """Bytes that files may still take."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def missing(self, wanted: List[Tuple[str, int]]) -> Iterator[Tuple[str, int]]:
        """Those that are not there, with what is there of them in bytes."""
        for sha256, size in dict(wanted).items():
            if _length(self._path(sha256)) != size:
                begun = max(_length(self._part(sha256)), 0)
                # One as long as the file never got its name: it is damaged, or its last moments were not ours to see.
                yield sha256, begun if begun < size else 0

    def sweep(self, now: float) -> None:
        """Removes parts that nobody will go on with."""
        with self._locked():
            for path in self._incoming.glob("*.part"):
                old = now - path.stat().st_mtime > STALE_SECONDS
                if old or not SHA256.fullmatch(path.name[: -len(".part")]):
                    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()
                    except BlockingIOError:
                        continue  # a process of ours is at it
                    finally:
                        os.close(descriptor)

    def store(self, sha256: str, offset: int, pieces: Iterator[bytes]) -> str:
        """Goes on with a file from `offset`, and gives it its name when the digest is right. The digest that it has.

        Stale before anything was taken from `pieces`. OSError when the disk takes no more: the part is gone then,
        because a full disk harms whatever else runs here.
        """
        descriptor, path = self._claim(sha256, offset)
        try:
            digest = hashlib.sha256()
            os.ftruncate(descriptor, offset)
            os.lseek(descriptor, 0, os.SEEK_SET)
            for data in iter(lambda: os.read(descriptor, PIECE), b""):
                digest.update(data)
            try:
                for data in pieces:
                    digest.update(data)
                    view = memoryview(data)
                    while view:
                        view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError:
                path.unlink()
                raise
            with self._locked():
                if digest.hexdigest() == sha256:
                    target = self._path(sha256)
                    target.parent.mkdir(exist_ok=True, mode=0o700)
                    path.replace(target)
                else:
                    path.unlink()
            return digest.hexdigest()
        finally:
            os.close(descriptor)

    def _claim(self, sha256: str, offset: int) -> Tuple[int, Path]:
        """A part that is ours alone, open and locked, with at least `offset` bytes. Stale when there are fewer."""
        path = self._part(sha256)
        with self._locked():
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = descriptor
            except BlockingIOError:
                # Another process is at it, perhaps one whose sender is gone: what it has so far is as good for us.
                path = self._incoming / f"{sha256}.{os.getpid()}.part"
                try:
                    ours = _open(path)
                    fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _copy(descriptor, ours, offset)
                finally:
                    os.close(descriptor)
        if os.fstat(ours).st_size < offset:
            os.close(ours)
            raise Stale(f"fewer than {offset} bytes are there")
        return ours, path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Held for moments, while parts get or lose their names."""
        folder = os.open(self._incoming, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _part(self, sha256: str) -> Path:
        return self._incoming / f"{sha256}.part"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _copy(source: int, target: int, amount: int) -> None:
    os.lseek(source, 0, os.SEEK_SET)  # its own offset: locks and positions belong to each open file
    left = amount
    while left:
        data = os.read(source, min(left, PIECE))
        if not data:
            return
        os.write(target, data)
        left -= len(data)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
