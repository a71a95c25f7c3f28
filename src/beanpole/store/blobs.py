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
    """The blobs below one folder, two levels deep (`ab/abcdef…`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        (root / "incoming").mkdir(exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        """Where the blob of that digest lies, whether or not it is there. ValueError for what is no digest."""
        if not _DIGEST.fullmatch(sha256):
            raise ValueError(f"not a SHA-256 in lower-case hex: {sha256!r}")
        return self.root / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

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
            target = self.path(writer.sha256)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            Path(name).replace(target)
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
                target = self.path(path.name)
                target.parent.mkdir(exist_ok=True, mode=0o700)
                path.replace(target)
        finally:
            shutil.rmtree(folder)

    def listed(self, now: float) -> Iterator[tuple[str, float]]:
        """Every blob's digest with its age in seconds at `now` (seconds since 1970)."""
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            if _DIGEST.fullmatch(path.name):
                yield path.name, now - path.stat().st_mtime

    def remove(self, sha256: str) -> None:
        """Remove a blob that nothing refers to any more; no error when it is gone already."""
        self.path(sha256).unlink(missing_ok=True)
