"""S3 as far as Elastic Beanstalk's clients need it: where bundles, saved configurations and log files travel.

Objects go to disk and come from it in pieces, whatever their size. An object becomes visible, or is replaced, in one
moment: when all of its bytes are on disk and every hash that the client sent was found right.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from beanpole.aws.call import Call, KeyLookup
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, Request
from beanpole.aws.sigv4 import presign
from beanpole.services.s3.bucket_calls import BucketCalls
from beanpole.services.s3.buckets import Buckets
from beanpole.services.s3.completion import Completing
from beanpole.services.s3.conditions import ALWAYS, Conditions
from beanpole.services.s3.multipart import Uploads
from beanpole.services.s3.object_calls import ObjectCalls
from beanpole.services.s3.objects import ObjectRow, Objects
from beanpole.services.s3.references import References
from beanpole.services.s3.router import check_key, route
from beanpole.services.s3.staging import PIECE, Staged, check_size
from beanpole.services.s3.threads import Threads
from beanpole.services.s3.upload_calls import UploadCalls
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database

OBJECT_LIMIT = 600 * 1024 * 1024
"""Bytes of one object. Elastic Beanstalk takes bundles of at most 512 MiB."""

URL_LIFETIME = 15 * 60
"""Seconds that a presigned URL holds. Clients fetch at once."""

LOCAL = "localhost"
"""Browsers and SDKs reach every name below it on this machine: `BUCKET.localhost` needs no configuration."""


class S3:
    """The object service of the gateway, and what the other rooms need of it.

    `blobs` are S3's alone. `keys` finds the key that signs a presigned URL. `object_limit` is in bytes. `names` are
    host names besides localhost under which the API is reached: those below them name buckets. The methods without
    `async` block.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        keys: KeyLookup,
        *,
        object_limit: int = OBJECT_LIMIT,
        names: Iterable[str] = (),
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._keys = keys
        self._names = frozenset((LOCAL, *(name.lower() for name in names)))
        self.references = references = References(database, blobs)
        self.buckets = Buckets(database)
        self.objects = Objects(database, blobs, references)
        self.uploads = Uploads(database, blobs, references, self.objects)
        completing = Completing(database, blobs, references, self.objects, object_limit)
        threads = Threads(blobs, object_limit)
        self._handlers = {
            **BucketCalls(threads, self.buckets, self.objects).handlers(),
            **ObjectCalls(threads, self.buckets, self.objects).handlers(),
            **UploadCalls(threads, self.uploads, completing, database).handlers(),
        }

    # -- for the other rooms ---------------------------------------------------------------------------------------

    def create_bucket(self, name: str) -> None:
        """Make the bucket. Harmless when it is there."""
        self.buckets.create(name)

    def put(
        self, bucket: str, key: str, content: bytes | Path, content_type: str | None = None, expected: str | None = None
    ) -> ObjectRow:
        """Make an object of bytes or of a copy of a file. NoSuchBucket when there is no such bucket.

        `expected`: the ETag of the object that it replaces, '' where there must be none; else PreconditionFailed, or
        NoSuchKey where there is none any more.
        """
        check_key(key)
        conditions = (
            ALWAYS if expected is None else Conditions(match=expected or None, none_match=None if expected else "*")
        )
        staged = Staged(self._blobs)
        try:
            if isinstance(content, bytes):
                staged.write(content)
            else:
                with content.open("rb") as file:
                    while piece := file.read(PIECE):
                        staged.write(piece)
            return self.objects.put(bucket, key, staged, content_type, conditions=conditions)
        finally:
            staged.drop()

    def get(self, bucket: str, key: str) -> ObjectRow | None:
        """The object's row; its content is the blob of its `sha256`. None when there is none."""
        return self.objects.get(bucket, key)

    def content(self, row: ObjectRow) -> Path:
        """The file with an object's bytes. It must not be changed."""
        return self._blobs.path(row.sha256)

    def read(self, bucket: str, key: str, limit: int = 1024 * 1024) -> bytes | None:
        """The content of a small object, None when there is none; EntityTooLarge above `limit` bytes."""
        if self.objects.get(bucket, key) is None:
            return None
        row, file = self.objects.open(bucket, key)
        with file:
            check_size(row.size, limit)
            return file.read()

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        """All keys that begin with `prefix`, in order. NoSuchBucket when there is no such bucket."""
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = self.objects.page(bucket, prefix, "", after, 1000)
            found += [row.key for row in page.objects]
            after = page.last
        return found

    def delete(self, bucket: str, key: str) -> None:
        """Remove the object; harmless when there is none."""
        self.objects.delete(bucket, [key])

    def expire_uploads(self, age: float) -> int:
        """Drop what clients began to upload more than `age` seconds ago and never completed; returns how many."""
        return self.uploads.expire(age)

    def sweep(self, now: float, age: float) -> None:
        """Remove content older than `age` seconds that no object, upload or version refers to any more."""
        self.references.sweep(now, age)

    def presigned_url(self, bucket: str, key: str, call: Call, expires: int = URL_LIFETIME) -> str:
        """A URL that fetches the object without further authentication, for `expires` seconds.

        It has the address that the call's client uses, and is signed with the call's own access key.
        """
        signer = self._keys(call.caller.access_key)
        if signer is None:
            raise AwsError("InvalidClientTokenId", "The access key was removed meanwhile.", 403)
        now = self._database.clock()
        url = f"{call.endpoint}/{bucket}/{quote(key, safe='/-_.~')}"
        return presign("GET", url, signer.id, signer.secret, call.region, "s3", now, expires)

    # -- for the gateway -------------------------------------------------------------------------------------------

    def operation(self, request: Request) -> tuple[str, dict[str, Any]]:
        return route(request, self._names)

    async def handle(self, call: Call, request: Request) -> Answer:
        return await self._handlers[call.operation](call, request)
