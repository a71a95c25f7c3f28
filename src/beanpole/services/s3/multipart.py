"""Uploads in parts: the parts arrive in any order and at once, and become one object when the client says so."""

from __future__ import annotations

import binascii
import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from beanpole.aws.errors import AwsError
from beanpole.services.s3 import buckets
from beanpole.services.s3.objects import ObjectRow, Objects, upsert
from beanpole.services.s3.references import References
from beanpole.services.s3.staging import PIECE, Staged, check_size
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


_PART = (upload_part.c.number, upload_part.c.sha256, upload_part.c.size, upload_part.c.etag)


class Uploads:
    """The uploads that were begun and not yet completed or aborted. Every method blocks."""

    def __init__(
        self, database: Database, blobs: Blobs, references: References, objects: Objects, object_limit: int
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._references = references
        self._objects = objects
        self._object_limit = object_limit

    def create(self, bucket: str, key: str, content_type: str | None) -> str:
        """Begin an upload and return its id."""
        identifier = secrets.token_urlsafe(24)
        with self._database.write() as db:
            buckets.require(db, bucket)
            db.execute(
                sa.insert(upload).values(
                    id=identifier, bucket=bucket, key=key, content_type=content_type, created_at=self._database.now_ms()
                )
            )
        return identifier

    def require(self, bucket: str, key: str, identifier: str) -> None:
        """NoSuchUpload unless this upload of this object is under way."""
        with self._database.read() as db:
            _require(db, bucket, key, identifier)

    def put_part(self, bucket: str, key: str, identifier: str, number: int, staged: Staged) -> str:
        """Take a part, in place of an earlier one of that number; returns its ETag."""
        where = (upload_part.c.upload_id == identifier) & (upload_part.c.number == number)
        with self._objects.kept(staged), self._database.write() as db:
            _require(db, bucket, key, identifier)
            replaced = db.scalars(sa.delete(upload_part).where(where).returning(upload_part.c.sha256)).all()
            db.execute(
                sa.insert(upload_part).values(
                    upload_id=identifier, number=number, sha256=staged.sha256, size=staged.size, etag=staged.md5
                )
            )
        self._references.remove_unused(replaced)
        return staged.md5

    def parts(self, bucket: str, key: str, identifier: str, after: int, limit: int) -> tuple[list[PartRow], bool]:
        """The parts with numbers above `after`, at most `limit`, and whether there are more."""
        query = sa.select(*_PART).where(upload_part.c.upload_id == identifier, upload_part.c.number > after)
        with self._database.read() as db:
            _require(db, bucket, key, identifier)
            rows = [PartRow(*row) for row in db.execute(query.order_by(upload_part.c.number).limit(limit + 1))]
        return rows[:limit], len(rows) > limit

    def complete(self, bucket: str, key: str, identifier: str, wanted: list[tuple[int, str]]) -> ObjectRow:
        """Join the wanted parts (number, ETag), in that order, into the object. Parts that were not named go."""
        with self._database.read() as db:
            content_type = _require(db, bucket, key, identifier)
            query = sa.select(*_PART).where(upload_part.c.upload_id == identifier)
            there = {row.number: PartRow(*row) for row in db.execute(query)}
        chosen = _choose(there, wanted)
        check_size(sum(part.size for part in chosen), self._object_limit)
        staged = self._join(chosen)
        row = ObjectRow(bucket, key, staged.sha256, staged.size, _etag(chosen), content_type, self._database.now_ms())
        with self._objects.kept(staged), self._database.write() as db:
            _require(db, bucket, key, identifier)
            unused = upsert(db, row) + _remove(db, identifier)
        self._references.remove_unused(unused)
        return row

    def abort(self, bucket: str, key: str, identifier: str) -> None:
        """Drop the upload and its parts."""
        with self._database.write() as db:
            _require(db, bucket, key, identifier)
            unused = _remove(db, identifier)
        self._references.remove_unused(unused)

    def expire(self, age: float) -> int:
        """Drop the uploads that were begun more than `age` seconds ago; returns how many."""
        before = self._database.now_ms() - int(age * 1000)
        unused: list[str] = []
        with self._database.write() as db:
            old = db.scalars(sa.select(upload.c.id).where(upload.c.created_at < before)).all()
            for identifier in old:
                unused += _remove(db, identifier)
        self._references.remove_unused(unused)
        return len(old)

    def _join(self, parts: list[PartRow]) -> Staged:
        staged = Staged(self._blobs)
        try:
            for part in parts:
                with self._blobs.path(part.sha256).open("rb") as file:
                    while piece := file.read(PIECE):
                        staged.write(piece)
        except FileNotFoundError:
            staged.drop()
            raise _no_such_upload("It was completed or aborted meanwhile.") from None
        except BaseException:
            staged.drop()
            raise
        return staged


def _choose(there: dict[int, PartRow], wanted: list[tuple[int, str]]) -> list[PartRow]:
    numbers = [number for number, _ in wanted]
    if not wanted:
        raise AwsError("MalformedXML", "Completing an upload needs at least one part.")
    if sorted(set(numbers)) != numbers:
        raise AwsError("InvalidPartOrder", "The parts must be named in ascending order, each once.")
    for number, etag in wanted:
        if number not in there or there[number].etag != etag:
            what = f"Part {number} was not uploaded, or has another ETag."
            raise AwsError("InvalidPart", what, PartNumber=str(number))
    return [there[number] for number in numbers]


def _etag(parts: list[PartRow]) -> str:
    digests = b"".join(binascii.unhexlify(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _require(db: sa.Connection, bucket: str, key: str, identifier: str) -> str | None:
    """The content type that the upload was begun with."""
    where = (upload.c.id == identifier) & (upload.c.bucket == bucket) & (upload.c.key == key)
    row = db.execute(sa.select(upload.c.content_type).where(where)).one_or_none()
    if row is None:
        raise _no_such_upload("It may have been completed or aborted.")
    content_type: str | None = row.content_type
    return content_type


def _remove(db: sa.Connection, identifier: str) -> list[str]:
    """Remove the rows of an upload; returns the digests of its parts."""
    where = upload_part.c.upload_id == identifier
    unused = list(db.scalars(sa.delete(upload_part).where(where).returning(upload_part.c.sha256)))
    db.execute(sa.delete(upload).where(upload.c.id == identifier))
    return unused


def _no_such_upload(more: str) -> AwsError:
    return AwsError("NoSuchUpload", f"There is no upload of that id for this key. {more}", 404)
