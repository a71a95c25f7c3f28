"""S3 as far as Elastic Beanstalk's clients need it: where bundles, saved configurations and log files travel.

Objects go to disk and come from it in pieces, whatever their size. An object becomes visible, or is replaced, in one
moment: when all of its bytes are on disk and every hash that the client sent was found right.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple
from urllib.parse import quote

import anyio
import anyio.to_thread

from beanpole.aws.call import Call, KeyLookup
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, FileContent, Request
from beanpole.aws.sigv4 import presign
from beanpole.services.s3 import documents
from beanpole.services.s3.buckets import Buckets
from beanpole.services.s3.conditions import byte_range, is_unchanged
from beanpole.services.s3.multipart import Uploads
from beanpole.services.s3.objects import ObjectRow, Objects
from beanpole.services.s3.references import References
from beanpole.services.s3.router import check_key, decode_address, route
from beanpole.services.s3.staging import PIECE, Staged, check_size, stage
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database

OBJECT_LIMIT = 600 * 1024 * 1024
"""Bytes of one object. Elastic Beanstalk takes bundles of at most 512 MiB."""

DOCUMENT_LIMIT = 2 * 1024 * 1024
"""Bytes of an XML body: 10,000 parts or 1,000 keys of full length."""

WORKERS = 16
"""Threads that write and read for S3, apart from those of the other services, which never wait for an upload."""

URL_LIFETIME = 15 * 60
"""Seconds that a presigned URL holds. Clients fetch at once."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class S3:
    """The object service of the gateway, and what the other rooms need of it.

    `blobs` are S3's alone. `keys` finds the key that signs a presigned URL. `object_limit` is in bytes. The methods
    without `async` block.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        keys: KeyLookup,
        *,
        object_limit: int = OBJECT_LIMIT,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._keys = keys
        self._object_limit = object_limit
        self._limiter = anyio.CapacityLimiter(WORKERS)
        self.references = references = References(database, blobs)
        self.buckets = Buckets(database)
        self.objects = Objects(database, blobs, references)
        self.uploads = Uploads(database, blobs, references, self.objects, object_limit)
        self._handlers: dict[str, Callable[[Call, Request], Awaitable[Answer]]] = {
            "ListBuckets": self._list_buckets,
            "CreateBucket": self._create_bucket,
            "HeadBucket": self._head_bucket,
            "DeleteBucket": self._delete_bucket,
            "GetBucketLocation": self._get_bucket_location,
            "ListObjects": self._list_objects,
            "ListObjectsV2": self._list_objects_v2,
            "PutObject": self._put_object,
            "CopyObject": self._copy_object,
            "GetObject": self._get_object,
            "HeadObject": self._head_object,
            "DeleteObject": self._delete_object,
            "DeleteObjects": self._delete_objects,
            "CreateMultipartUpload": self._create_upload,
            "UploadPart": self._upload_part,
            "CompleteMultipartUpload": self._complete_upload,
            "AbortMultipartUpload": self._abort_upload,
            "ListParts": self._list_parts,
        }

    # -- for the other rooms ---------------------------------------------------------------------------------------

    def create_bucket(self, name: str) -> None:
        """Make the bucket. Harmless when it is there."""
        self.buckets.create(name)

    def put(self, bucket: str, key: str, content: bytes | Path, content_type: str | None = None) -> ObjectRow:
        """Make an object of bytes or of a copy of a file. NoSuchBucket when there is no such bucket."""
        check_key(key)
        staged = Staged(self._blobs)
        try:
            if isinstance(content, bytes):
                staged.write(content)
            else:
                with content.open("rb") as file:
                    while piece := file.read(PIECE):
                        staged.write(piece)
            return self.objects.put(bucket, key, staged, content_type)
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
        return route(request)

    async def handle(self, call: Call, request: Request) -> Answer:
        return await self._handlers[call.operation](call, request)

    async def _list_buckets(self, call: Call, request: Request) -> Answer:
        return _xml(documents.list_buckets(await self._run(self.buckets.all)))

    async def _create_bucket(self, call: Call, request: Request) -> Answer:
        await request.body.read(DOCUMENT_LIMIT)  # a wish for a region: there is only this one
        await self._run(self.buckets.create, call.params["Bucket"])
        return Answer(headers={"Location": f"/{call.params['Bucket']}"})

    async def _head_bucket(self, call: Call, request: Request) -> Answer:
        await self._run(self.buckets.require, call.params["Bucket"])
        return Answer(headers={"x-amz-bucket-region": call.region})

    async def _delete_bucket(self, call: Call, request: Request) -> Answer:
        await self._run(self.buckets.delete, call.params["Bucket"])
        return Answer(204)

    async def _get_bucket_location(self, call: Call, request: Request) -> Answer:
        await self._run(self.buckets.require, call.params["Bucket"])
        return _xml(documents.bucket_location(call.region))

    async def _list_objects(self, call: Call, request: Request) -> Answer:
        return await self._list(call, request, request.query.get("marker", ""), v2=False)

    async def _list_objects_v2(self, call: Call, request: Request) -> Answer:
        token = request.query.get("continuation-token")
        after = request.query.get("start-after", "") if token is None else _from_token(token)
        return await self._list(call, request, after, v2=True)

    async def _list(self, call: Call, request: Request, after: str, *, v2: bool) -> Answer:
        query = request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = _number(query, "max-keys", 1000)
        encoding = query.get("encoding-type")
        if encoding not in (None, "url"):
            raise AwsError("InvalidArgument", "encoding-type must be url.")
        encode = documents.url_encoded if encoding else str
        page = await self._run(self.objects.page, call.params["Bucket"], prefix, delimiter, after, limit)
        head = {"Name": call.params["Bucket"], "Prefix": encode(prefix), "MaxKeys": str(limit)}
        head["IsTruncated"] = "false" if page.last is None else "true"
        if delimiter:
            head["Delimiter"] = encode(delimiter)
        if encoding:
            head["EncodingType"] = encoding
        if v2:
            head["KeyCount"] = str(page.count)
            for name, value in (("ContinuationToken", "continuation-token"), ("StartAfter", "start-after")):
                if value in query:
                    head[name] = encode(query[value]) if name == "StartAfter" else query[value]
            if page.last is not None:
                head["NextContinuationToken"] = base64.urlsafe_b64encode(page.last.encode()).decode()
        else:
            head["Marker"] = encode(after)
            if page.last is not None:
                head["NextMarker"] = encode(page.last)
        return _xml(documents.list_objects(page, head, encode))

    async def _put_object(self, call: Call, request: Request) -> Answer:
        bucket, key = call.params["Bucket"], call.params["Key"]
        await self._run(self.buckets.require, bucket)
        staged = await self._stage(request)
        if_absent = (request.header("if-none-match") or "").strip() == "*"
        row = await self._run(self.objects.put, bucket, key, staged, request.header("content-type"), if_absent)
        return Answer(headers={"ETag": f'"{row.etag}"'})

    async def _copy_object(self, call: Call, request: Request) -> Answer:
        source = (request.header("x-amz-copy-source") or "").partition("?")[0].removeprefix("/")
        replaces = request.header("x-amz-metadata-directive") == "REPLACE"
        content_type = request.header("content-type") if replaces else None
        origin = decode_address(source.encode("latin-1"))
        row = await self._run(self.objects.copy, origin, call.params["Bucket"], call.params["Key"], content_type)
        return _xml(documents.copy_result(row))

    async def _get_object(self, call: Call, request: Request) -> Answer:
        row, file = await self._run(self.objects.open, call.params["Bucket"], call.params["Key"])
        try:
            headers = _object_headers(row, request.query)
            if is_unchanged(request.header("if-match"), request.header("if-none-match"), row.etag):
                file.close()
                return Answer(304, headers)
            part = byte_range(request.header("range"), row.size)
            if part is None:
                return Answer(200, headers, FileContent(file, row.size))
            start, length = part
            file.seek(start)
        except AwsError:
            file.close()
            raise
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{row.size}"
        return Answer(206, headers, FileContent(file, length))

    async def _head_object(self, call: Call, request: Request) -> Answer:
        row = await self._run(self.objects.require, call.params["Bucket"], call.params["Key"])
        headers = _object_headers(row, request.query)
        if is_unchanged(request.header("if-match"), request.header("if-none-match"), row.etag):
            return Answer(304, headers)
        part = byte_range(request.header("range"), row.size)
        if part is None:
            return Answer(200, {**headers, "Content-Length": str(row.size)})
        start, length = part
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{row.size}"
        return Answer(206, {**headers, "Content-Length": str(length)})

    async def _delete_object(self, call: Call, request: Request) -> Answer:
        await self._run(self.objects.delete, call.params["Bucket"], [call.params["Key"]])
        return Answer(204)

    async def _delete_objects(self, call: Call, request: Request) -> Answer:
        wanted, quiet = documents.parse_delete(await request.body.read(DOCUMENT_LIMIT))
        keys: list[str] = []
        refused: list[tuple[str, AwsError]] = []
        for key in wanted:
            try:
                keys.append(check_key(key))
            except AwsError as error:
                refused.append((key, error))
        await self._run(self.objects.delete, call.params["Bucket"], keys)
        return _xml(documents.delete_result([] if quiet else keys, refused))

    async def _create_upload(self, call: Call, request: Request) -> Answer:
        bucket, key = call.params["Bucket"], call.params["Key"]
        upload_id = await self._run(self.uploads.create, bucket, key, request.header("content-type"))
        return _xml(documents.upload_created(bucket, key, upload_id))

    async def _upload_part(self, call: Call, request: Request) -> Answer:
        address = (call.params["Bucket"], call.params["Key"], call.params["UploadId"])
        await self._run(self.uploads.require, *address)
        staged = await self._stage(request)
        etag = await self._run(self.uploads.put_part, *address, call.params["PartNumber"], staged)
        return Answer(headers={"ETag": f'"{etag}"'})

    async def _complete_upload(self, call: Call, request: Request) -> Answer:
        parts = documents.parse_complete(await request.body.read(DOCUMENT_LIMIT))
        address = (call.params["Bucket"], call.params["Key"], call.params["UploadId"])
        row = await self._run(self.uploads.complete, *address, parts)
        location = f"{call.endpoint}/{row.bucket}/{quote(row.key, safe='/-_.~')}"
        return _xml(documents.upload_completed(row, location))

    async def _abort_upload(self, call: Call, request: Request) -> Answer:
        await self._run(self.uploads.abort, call.params["Bucket"], call.params["Key"], call.params["UploadId"])
        return Answer(204)

    async def _list_parts(self, call: Call, request: Request) -> Answer:
        after, limit = _number(request.query, "part-number-marker", 0), _number(request.query, "max-parts", 1000)
        address = (call.params["Bucket"], call.params["Key"], call.params["UploadId"])
        parts, truncated = await self._run(self.uploads.parts, *address, after, limit)
        return _xml(documents.list_parts(*address, parts, after, limit, truncated))

    async def _stage(self, request: Request) -> Staged:
        check_size(request.body.length or 0, self._object_limit)  # before the client is told to send it
        return await stage(self._blobs, request.body.chunks(), self._object_limit, self._limiter)

    async def _run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)


def _xml(content: bytes) -> Answer:
    return Answer(200, {"Content-Type": "application/xml"}, content)


def _object_headers(row: ObjectRow, query: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "ETag": f'"{row.etag}"',
        "Last-Modified": email.utils.formatdate(row.modified_at / 1000, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": row.content_type or "binary/octet-stream",
        # An object may be a page that somebody uploaded; in a browser it must not act as a page of ours.
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    for name in ("Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language", "Cache-Control"):
        value = query.get(f"response-{name.lower()}")
        if value is not None:
            if not value.isascii() or not value.isprintable():
                raise AwsError("InvalidArgument", f"response-{name.lower()} is not the value of a header.")
            headers[name] = value
    return headers


def _from_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise AwsError("InvalidArgument", "The continuation token is not one of ours.") from None


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of the query, at most 1000 unless it is a marker."""
    value = query.get(name)
    if value is None:
        return default
    if not re.fullmatch("[0-9]{1,9}", value):
        raise AwsError("InvalidArgument", f"{name} must be a number, 0 or more.")
    return min(int(value), 1000) if name.startswith("max-") else int(value)
