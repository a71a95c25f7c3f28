"""Uploads in parts: the parts arrive in any order and at once. How they become one object: see completion.py."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from beanpole.aws.errors import AwsError
from beanpole.services.s3 import buckets
from beanpole.services.s3.conditions import Conditions, source_range
from beanpole.services.s3.details import Details
from beanpole.services.s3.listing import Page, page
from beanpole.services.s3.objects import Objects
from beanpole.services.s3.references import References
from beanpole.services.s3.staging import PIECE, Staged
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.schema import upload, upload_part


@dataclass(frozen=True, slots=True)
class PartRow:
    """`etag` is without quotes."""

    number: int
    sha256: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload under way; `created_at` is in milliseconds since 1970."""

    key: str
    id: str
    created_at: int


PART = (upload_part.c.number, upload_part.c.sha256, upload_part.c.size, upload_part.c.etag)


class Uploads:
    """The uploads that were begun and not yet completed or aborted. Every method blocks."""

    def __init__(self, database: Database, blobs: Blobs, references: References, objects: Objects) -> None:
        self._database = database
        self._blobs = blobs
        self._references = references
        self._objects = objects

    def create(self, bucket: str, key: str, content_type: str | None, details: Details) -> str:
        """Begin an upload and return its id. Type and details are those of the object to be."""
        identifier = secrets.token_urlsafe(24)
        with self._database.write() as db:
            buckets.require(db, bucket)
            db.execute(
                sa.insert(upload).values(
                    id=identifier,
                    bucket=bucket,
                    key=key,
                    content_type=content_type,
                    created_at=self._database.now_ms(),
                    details=details.to_json(),
                )
            )
        return identifier

    def require(self, bucket: str, key: str, identifier: str) -> None:
        """NoSuchUpload unless this upload of this object is under way."""
        with self._database.read() as db:
            require_upload(db, bucket, key, identifier)

    def put_part(self, bucket: str, key: str, identifier: str, number: int, staged: Staged) -> str:
        """Take a part, in place of an earlier one of that number; returns its ETag."""
        where = (upload_part.c.upload_id == identifier) & (upload_part.c.number == number)
        with self._objects.kept(staged), self._database.write() as db:
            require_upload(db, bucket, key, identifier)
            replaced = db.scalars(sa.delete(upload_part).where(where).returning(upload_part.c.sha256)).all()
            db.execute(
                sa.insert(upload_part).values(
                    upload_id=identifier, number=number, sha256=staged.sha256, size=staged.size, etag=staged.md5
                )
            )
        self._references.remove_unused(replaced)
        return staged.md5

    def copy_part(
        self,
        bucket: str,
        key: str,
        identifier: str,
        number: int,
        source: tuple[str, str],
        range_: str | None,
        conditions: Conditions,
    ) -> str:
        """Take a part from an object, or from a range of it (the header's text); returns the part's ETag."""
        self.require(bucket, key, identifier)
        row, file = self._objects.open(*source)
        with file:
            conditions.check_copy(row.etag, row.modified_at)
            start, left = source_range(range_, row.size)
            file.seek(start)
            staged = Staged(self._blobs)
            try:
                while left and (piece := file.read(min(PIECE, left))):
                    staged.write(piece)
                    left -= len(piece)
                return self.put_part(bucket, key, identifier, number, staged)
            finally:
                staged.drop()

    def page(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> Page[UploadRow]:
        """One page of the bucket's uploads behind that key and id, in the order of both."""
        key = upload.c.key
        after_key, after_id = after
        with self._database.read() as db:
            buckets.require(db, bucket)
            behind = key > after_key
            if after_id:
                behind |= (key == after_key) & (upload.c.id > after_id)
            query = sa.select(upload.c.key, upload.c.id, upload.c.created_at)
            query = query.where(upload.c.bucket == bucket, key >= prefix, behind).order_by(key, upload.c.id)
            with db.execute(query.execution_options(yield_per=1000)) as rows:
                return page((UploadRow(*row) for row in rows), prefix, delimiter, after_key, limit)

    def parts(self, bucket: str, key: str, identifier: str, after: int, limit: int) -> tuple[list[PartRow], bool]:
        """The parts with numbers above `after`, at most `limit`, and whether there are more."""
        query = sa.select(*PART).where(upload_part.c.upload_id == identifier, upload_part.c.number > after)
        with self._database.read() as db:
            require_upload(db, bucket, key, identifier)
            rows = [PartRow(*row) for row in db.execute(query.order_by(upload_part.c.number).limit(limit + 1))]
        return rows[:limit], len(rows) > limit

    def abort(self, bucket: str, key: str, identifier: str) -> None:
        """Drop the upload and its parts."""
        with self._database.write() as db:
            require_upload(db, bucket, key, identifier)
            unused = remove_upload(db, identifier)
        self._references.remove_unused(unused)

    def expire(self, age: float) -> int:
        """Drop the uploads that were begun more than `age` seconds ago; returns how many."""
        before = self._database.now_ms() - int(age * 1000)
        unused: list[str] = []
        with self._database.write() as db:
            old = db.scalars(sa.select(upload.c.id).where(upload.c.created_at < before)).all()
            for identifier in old:
                unused += remove_upload(db, identifier)
        self._references.remove_unused(unused)
        return len(old)


def require_upload(db: sa.Connection, bucket: str, key: str, identifier: str) -> tuple[str | None, Details]:
    """The content type and the details that the upload was begun with."""
    where = (upload.c.id == identifier) & (upload.c.bucket == bucket) & (upload.c.key == key)
    row = db.execute(sa.select(upload.c.content_type, upload.c.details).where(where)).one_or_none()
    if row is None:
        raise no_such_upload("It may have been completed or aborted.")
    return row.content_type, Details.from_json(row.details)


def remove_upload(db: sa.Connection, identifier: str) -> list[str]:
    """Remove the rows of an upload; returns the digests of its parts."""
    where = upload_part.c.upload_id == identifier
    unused = list(db.scalars(sa.delete(upload_part).where(where).returning(upload_part.c.sha256)))
    db.execute(sa.delete(upload).where(upload.c.id == identifier))
    return unused


def no_such_upload(more: str) -> AwsError:
    return AwsError("NoSuchUpload", f"There is no upload of that id for this key. {more}", 404)
