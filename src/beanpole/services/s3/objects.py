"""The objects: rows that name a blob. Keys are rows, never paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import sqlalchemy as sa

from beanpole.aws.errors import AwsError
from beanpole.services.s3 import buckets
from beanpole.services.s3.conditions import ALWAYS, Conditions
from beanpole.services.s3.details import Details
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
    details: Details = field(default_factory=Details)


_COLUMNS = tuple(object_.c[name] for name in ObjectRow.__slots__)


class Objects:
    """Objects of all buckets. Every method blocks."""

    def __init__(self, database: Database, blobs: Blobs, references: References) -> None:
        self._database = database
        self._blobs = blobs
        self._references = references

    def get(self, bucket: str, key: str) -> ObjectRow | None:
        with self._database.read() as db:
            return select(db, bucket, key)

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
        self,
        bucket: str,
        key: str,
        staged: Staged,
        content_type: str | None,
        details: Details | None = None,
        conditions: Conditions = ALWAYS,
    ) -> ObjectRow:
        """Make the staged bytes the object's content, if the conditions hold in that moment."""
        now = self._database.now_ms()
        row = ObjectRow(bucket, key, staged.sha256, staged.size, staged.md5, content_type, now, details or Details())
        with self.kept(staged), self._database.write() as db:
            buckets.require(db, bucket)
            old = upsert(db, row, conditions)
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

    def copy(
        self,
        source: tuple[str, str],
        bucket: str,
        key: str,
        described: Callable[[ObjectRow], tuple[str | None, Details]],
        of_source: Conditions = ALWAYS,
        of_target: Conditions = ALWAYS,
    ) -> ObjectRow:
        """Another object with the same content, if the conditions hold. `described`: the copy's type and details."""
        now = self._database.now_ms()
        with self._database.write() as db:
            buckets.require(db, bucket)
            found = _require(db, *source)
            of_source.check_copy(found.etag, found.modified_at)
            content_type, details = described(found)
            row = ObjectRow(bucket, key, found.sha256, found.size, found.etag, content_type, now, details)
            old = upsert(db, row, of_target)
        self._references.remove_unused(old)
        return row

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Remove objects. Those that are not there are no error."""
        self.delete_each(bucket, [(key, ALWAYS) for key in keys])

    def delete_each(self, bucket: str, wanted: Iterable[tuple[str, Conditions]]) -> list[AwsError | None]:
        """Remove the objects whose conditions hold. Answers for each why it is still there, or None."""
        removed: list[str] = []
        refused: list[AwsError | None] = []
        with self._database.write() as db:
            buckets.require(db, bucket)
            for key, conditions in wanted:
                try:
                    removed += _delete(db, bucket, key, conditions)
                    refused.append(None)
                except AwsError as error:
                    refused.append(error)
        self._references.remove_unused(removed)
        return refused

    def page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page[ObjectRow]:
        """One page of the bucket's list, in the order of the keys' UTF-8 bytes."""
        with self._database.read() as db:
            buckets.require(db, bucket)
            key = object_.c.key
            query = sa.select(*_COLUMNS).where(object_.c.bucket == bucket, key >= prefix, key > after).order_by(key)
            with db.execute(query.execution_options(yield_per=1000)) as rows:
                return page(map(_row, rows), prefix, delimiter, after, limit)


def upsert(db: sa.Connection, row: ObjectRow, conditions: Conditions = ALWAYS) -> list[str]:
    """Write the object's row if the conditions hold; returns the digests that it no longer refers to."""
    old = select(db, row.bucket, row.key)
    conditions.check_write(old.etag if old else None)
    values = {column.name: getattr(row, column.name) for column in _COLUMNS} | {"details": row.details.to_json()}
    if old is None:
        db.execute(sa.insert(object_).values(values))
        return []
    db.execute(sa.update(object_).where(object_.c.bucket == row.bucket, object_.c.key == row.key).values(values))
    return [old.sha256] if old.sha256 != row.sha256 else []


def select(db: sa.Connection, bucket: str, key: str) -> ObjectRow | None:
    found = db.execute(sa.select(*_COLUMNS).where(object_.c.bucket == bucket, object_.c.key == key)).one_or_none()
    return _row(found) if found else None


def _delete(db: sa.Connection, bucket: str, key: str, conditions: Conditions) -> Sequence[str]:
    where = (object_.c.bucket == bucket) & (object_.c.key == key)
    if conditions != ALWAYS:
        conditions.check_write(db.scalar(sa.select(object_.c.etag).where(where)))
    return db.scalars(sa.delete(object_).where(where).returning(object_.c.sha256)).all()


def _row(found: sa.Row[Any]) -> ObjectRow:
    values = dict(found._mapping)
    return ObjectRow(**values | {"details": Details.from_json(values["details"])})


def _require(db: sa.Connection, bucket: str, key: str) -> ObjectRow:
    row = select(db, bucket, key)
    if row is None:
        buckets.require(db, bucket)
        raise AwsError("NoSuchKey", f"There is no object {key} in {bucket}.", 404, Key=key)
    return row
