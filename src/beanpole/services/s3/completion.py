"""How the parts of an upload become one object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from beanpole.aws.checksums import Digest, check_digest, new_digest
from beanpole.aws.errors import AwsError
from beanpole.services.s3.conditions import ALWAYS, Conditions
from beanpole.services.s3.details import Details
from beanpole.services.s3.multipart import PART, PartRow, no_such_upload, remove_upload, require_upload
from beanpole.services.s3.objects import ObjectRow, Objects, select, upsert
from beanpole.services.s3.references import References
from beanpole.services.s3.staging import PIECE, Staged, check_size
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.schema import upload_part


@dataclass(frozen=True, slots=True)
class Completion:
    """What makes an object of an upload: its parts (number, ETag) in order, and what must be true of the object.

    `checksums` are of the whole content, in base64 by algorithm; `size` is in bytes, None if the client named none.
    """

    parts: list[tuple[int, str]]
    conditions: Conditions = ALWAYS
    checksums: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


class Completing:
    """Completes uploads. `object_limit` is in bytes. `complete` blocks."""

    def __init__(
        self, database: Database, blobs: Blobs, references: References, objects: Objects, object_limit: int
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._references = references
        self._objects = objects
        self._object_limit = object_limit

    def complete(self, bucket: str, key: str, identifier: str, wanted: Completion) -> ObjectRow:
        """Join the wanted parts, in that order, into the object. Parts that were not named go.

        A client that did not get its answer asks again: as long as the object is the one that this upload made of
        these parts, it is the answer again.
        """
        try:
            return self._complete(bucket, key, identifier, wanted)
        except AwsError as error:
            if error.code != "NoSuchUpload":
                raise
            with self._database.read() as db:
                row = select(db, bucket, key)
            if row is None or row.details.upload != identifier or row.etag != _etag(etag for _, etag in wanted.parts):
                raise
            return row

    def _complete(self, bucket: str, key: str, identifier: str, wanted: Completion) -> ObjectRow:
        with self._database.read() as db:
            content_type, details = require_upload(db, bucket, key, identifier)
            query = sa.select(*PART).where(upload_part.c.upload_id == identifier)
            there = {row.number: PartRow(*row) for row in db.execute(query)}
        chosen = _choose(there, wanted.parts)
        size = sum(part.size for part in chosen)
        check_size(size, self._object_limit)
        if wanted.size not in (None, size):
            raise AwsError("InvalidRequest", f"The parts have {size} bytes; {wanted.size} were announced.")
        digests = {name: digest for name in wanted.checksums if (digest := new_digest(name)) is not None}
        staged = self._join(chosen, digests.values())
        checked = {name: wanted.checksums[name] for name in digests}
        row = ObjectRow(
            bucket,
            key,
            staged.sha256,
            staged.size,
            _etag(part.etag for part in chosen),
            content_type,
            self._database.now_ms(),
            Details(details.headers, checked, identifier),
        )
        try:
            for name, digest in digests.items():
                check_digest(f"x-amz-checksum-{name}", digest, wanted.checksums[name])
            with self._objects.kept(staged), self._database.write() as db:
                require_upload(db, bucket, key, identifier)
                unused = upsert(db, row, wanted.conditions) + remove_upload(db, identifier)
        finally:
            staged.drop()
        self._references.remove_unused(unused)
        return row

    def _join(self, parts: list[PartRow], digests: Iterable[Digest]) -> Staged:
        staged = Staged(self._blobs)
        try:
            for part in parts:
                with self._blobs.path(part.sha256).open("rb") as file:
                    while piece := file.read(PIECE):
                        staged.write(piece)
                        for digest in digests:
                            digest.update(piece)
        except FileNotFoundError:
            staged.drop()
            raise no_such_upload("It was completed or aborted meanwhile.") from None
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


def _etag(of_parts: Iterable[str]) -> str:
    """The ETag of an object of parts that have these ETags; "" when one of them cannot be that of a part."""
    etags = list(of_parts)
    try:
        digests = b"".join(bytes.fromhex(etag) for etag in etags)
    except ValueError:
        return ""
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(etags)}"
