"""Content-addressed files on disk: bundles, their members, objects of the S3 service, wheels.

A blob is named by the SHA-256 of its content and never changes. Names that users choose (keys, paths in bundles) live
in the database only; they never become paths here. A blob appears under its name only when all of it is on disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass
class BlobWriter:
    """Takes the bytes of one blob. `sha256`, `md5` and `size` speak of what was written so far."""

    _file: Any
    size: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)
    _md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self._md5.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        return str(self._sha256.hexdigest())

    @property
    def md5(self) -> str:
        """What S3 calls the ETag of an object that was put in one piece."""
        return str(self._md5.hexdigest())


class Blobs:
    """The blobs below one folder, two levels deep (`ab/abcdef…`).

    Who decides by age what to remove (`remove_older`) and who finds a blob that it wants to name again (`touch`) must
    share one instance: then a blob that was touched stays for as long as that age says.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ages = threading.Lock()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        (root / "incoming").mkdir(exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        """Where the blob of that digest lies, whether or not it is there. ValueError for what is no digest."""
        if not _DIGEST.fullmatch(sha256):
            raise ValueError(f"not a SHA-256 in lower-case hex: {sha256!r}")
        return self.root / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def touch(self, sha256: str) -> bool:
        """Whether it is there; if so it counts as new from now on, since something is about to name it."""
        with self._ages:
            try:
                os.utime(self.path(sha256))
            except FileNotFoundError:
                return False
        return True

    def empty_incoming(self) -> None:
        """Remove what was being written when the last process ended. To be called before anything is written."""
        for path in (self.root / "incoming").iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """A new blob. It is kept when the block ends well and leaves no trace when it raises."""
        descriptor, name = tempfile.mkstemp(dir=self.root / "incoming")
        try:
            with os.fdopen(descriptor, "wb") as file:
                writer = BlobWriter(file)
                yield writer
                file.flush()
                os.fsync(file.fileno())
            self._keep(Path(name), writer.sha256)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def put(self, chunks: Iterable[bytes]) -> BlobWriter:
        """Store the chunks as one blob; the answer carries its digests and size."""
        with self.writer() as writer:
            for chunk in chunks:
                writer.write(chunk)
        return writer

    @contextmanager
    def batch(self) -> Iterator[Blobs]:
        """A place for several blobs that are kept together when the block ends well; else none of them is."""
        folder = Path(tempfile.mkdtemp(dir=self.root / "incoming"))
        try:
            yield Blobs(folder)
            for path in folder.glob("??/*"):
                self._keep(path, path.name)
        finally:
            shutil.rmtree(folder)

    def listed(self, now: float) -> Iterator[tuple[str, float]]:
        """Every blob's digest with its age in seconds at `now` (seconds since 1970)."""
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            if _DIGEST.fullmatch(path.name) and (age := _age(path, now)) is not None:
                yield path.name, age

    def remove(self, sha256: str) -> None:
        """Remove a blob that nothing refers to any more; no error when it is gone already."""
        self.path(sha256).unlink(missing_ok=True)

    def remove_older(self, sha256: str, now: float, age: float) -> bool:
        """Remove it if it is older than `age` seconds at `now`, whatever was known before; says whether it did."""
        path = self.path(sha256)
        with self._ages:
            found = _age(path, now)
            if found is None or found <= age:
                return False
            path.unlink()
        return True

    def _keep(self, path: Path, sha256: str) -> None:
        target = self.path(sha256)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        with self._ages:
            path.replace(target)


def _age(path: Path, now: float) -> float | None:
    """Seconds; None for a file that is gone."""
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return None
