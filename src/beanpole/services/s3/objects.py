"""The objects: rows that name a blob. Keys are rows, never paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import sqlalchemy as sa

from beanpole.aws.errors import AwsError
from beanpole.services.s3 import buckets
from beanpole.services.s3.listing import Page, page
from beanpole.services.s3.references import References
from beanpole.services.s3.staging import Staged
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.schema import object_


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """`sha256` names the blob; `etag` is without quotes; `modified_at` is in milliseconds since 1970."""

    bucket: str
    key: str
    sha256: str
    size: int
    etag: str
    content_type: str | None
    modified_at: int


_COLUMNS = tuple(object_.c[name] for name in ObjectRow.__slots__)


class Objects:
    """Objects of all buckets. Every method blocks."""

    def __init__(self, database: Database, blobs: Blobs, references: References) -> None:
        self._database = database
        self._blobs = blobs
        self._references = references

    def get(self, bucket: str, key: str) -> ObjectRow | None:
        with self._database.read() as db:
            return _select(db, bucket, key)

    def require(self, bucket: str, key: str) -> ObjectRow:
        """The object; NoSuchBucket or NoSuchKey when there is none."""
        with self._database.read() as db:
            return _require(db, bucket, key)

    def open(self, bucket: str, key: str) -> tuple[ObjectRow, BinaryIO]:
        """The object and its content, which stays readable until it is closed, also when the object is replaced."""
        for _ in range(3):
            row = self.require(bucket, key)
            try:
                return row, self._blobs.path(row.sha256).open("rb")
            except FileNotFoundError:
                continue  # it was replaced between the two lines above
        raise FileNotFoundError(f"the blob {row.sha256} of s3://{bucket}/{key} is missing")

    def put(
        self, bucket: str, key: str, staged: Staged, content_type: str | None, if_absent: bool = False
    ) -> ObjectRow:
        """Make the staged bytes the object's content. PreconditionFailed with `if_absent` when there is one already."""
        now = self._database.now_ms()
        row = ObjectRow(bucket, key, staged.sha256, staged.size, staged.md5, content_type, now)
        with self.kept(staged), self._database.write() as db:
            buckets.require(db, bucket)
            old = upsert(db, row, if_absent=if_absent)
        self._references.remove_unused(old)
        return row

    @contextmanager
    def kept(self, staged: Staged) -> Iterator[None]:
        """The staged bytes as a blob that will not vanish before rows written in the block refer to it."""
        try:
            with self._references.held(staged.sha256):
                staged.keep()
                yield
        finally:
            staged.drop()

    def copy(self, source: tuple[str, str], bucket: str, key: str, content_type: str | None) -> ObjectRow:
        """Another object with the same content, and its type unless another is given."""
        with self._database.write() as db:
            buckets.require(db, bucket)
            found = _require(db, *source)
            row = ObjectRow(
                bucket,
                key,
                found.sha256,
                found.size,
                found.etag,
                content_type or found.content_type,
                self._database.now_ms(),
            )
            old = upsert(db, row)
        self._references.remove_unused(old)
        return row

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Remove objects. Those that are not there are no error."""
        removed: list[str] = []
        with self._database.write() as db:
            buckets.require(db, bucket)
            for key in keys:
                where = (object_.c.bucket == bucket) & (object_.c.key == key)
                removed += db.scalars(sa.delete(object_).where(where).returning(object_.c.sha256))
        self._references.remove_unused(removed)

    def page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page[ObjectRow]:
        """One page of the bucket's list, in the order of the keys' UTF-8 bytes."""
        with self._database.read() as db:
            buckets.require(db, bucket)
            key: sa.ColumnElement[str] = object_.c.key
            if db.dialect.name == "postgresql":
                key = key.collate("C")  # SQLite compares bytes by itself
            query = sa.select(*_COLUMNS).where(object_.c.bucket == bucket, key >= prefix, key > after).order_by(key)
            with db.execute(query.execution_options(yield_per=1000)) as rows:
                return page((ObjectRow(*row) for row in rows), prefix, delimiter, after, limit)


def upsert(db: sa.Connection, row: ObjectRow, *, if_absent: bool = False) -> list[str]:
    """Write the object's row; returns the digests that it no longer refers to."""
    old = _select(db, row.bucket, row.key)
    if old is not None and if_absent:
        raise AwsError("PreconditionFailed", "There is an object of that key already.", 412, Condition="If-None-Match")
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    if old is None:
        db.execute(sa.insert(object_).values(values))
        return []
    db.execute(sa.update(object_).where(object_.c.bucket == row.bucket, object_.c.key == row.key).values(values))
    return [old.sha256] if old.sha256 != row.sha256 else []


def _select(db: sa.Connection, bucket: str, key: str) -> ObjectRow | None:
    found = db.execute(sa.select(*_COLUMNS).where(object_.c.bucket == bucket, object_.c.key == key)).one_or_none()
    return ObjectRow(*found) if found else None


def _require(db: sa.Connection, bucket: str, key: str) -> ObjectRow:
    row = _select(db, bucket, key)
    if row is None:
        buckets.require(db, bucket)
        raise AwsError("NoSuchKey", f"There is no object {key} in {bucket}.", 404, Key=key)
    return row
