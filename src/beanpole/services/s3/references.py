"""Which blobs are still needed.

A blob may be shared: by objects with the same content, by parts of uploads, by an application version that outlives its
object. It is removed when the last of them is gone. Rows change first, files after; while somebody is about to refer to
a blob it is held, so that a removal on the way does not take it from under the new row.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.schema import object_, upload_part, version


class References:
    """Removes blobs of `blobs`, which S3 has for itself, that nothing refers to."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, sha256: str) -> Iterator[None]:
        """Inside of the block the blob is not removed; after it, it is if nothing refers to it by then."""
        with self._lock:
            self._held[sha256] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[sha256] -= 1
            self.remove_unused([sha256])

    def remove_unused(self, digests: Iterable[str]) -> None:
        """Remove those blobs that nothing refers to. To be called after the transaction that changed the rows."""
        with self._lock:
            free = {sha256 for sha256 in digests if not self._held[sha256]}
            for sha256 in free:
                del self._held[sha256]
            with self._database.read() as db:
                unused = {sha256 for sha256 in free if not _is_in_rows(db, sha256)}
            for sha256 in unused:
                self._blobs.remove(sha256)

    def sweep(self, now: float, age: float) -> None:
        """Remove what nothing refers to and is older than `age` seconds at `now` (seconds since 1970)."""
        self.remove_unused([sha256 for sha256, since in self._blobs.listed(now) if since > age])


def _is_in_rows(db: sa.Connection, sha256: str) -> bool:
    columns = (object_.c.sha256, upload_part.c.sha256, version.c.bundle)
    return bool(db.scalar(sa.select(sa.or_(*(sa.exists().where(column == sha256) for column in columns)))))
