"""The calls that are about whole objects: put, copy, get, look at and delete them."""

from __future__ import annotations

from functools import partial

from beanpole.aws.call import Call
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, FileContent, Request
from beanpole.services.s3 import bodies, documents
from beanpole.services.s3.answers import DOCUMENT_LIMIT, CallHandler, xml
from beanpole.services.s3.buckets import Buckets
from beanpole.services.s3.conditions import Conditions, byte_range, is_same
from beanpole.services.s3.details import Details
from beanpole.services.s3.headers import (
    asked_checksums,
    checksum_headers,
    copied_details,
    object_headers,
    sent_headers,
)
from beanpole.services.s3.objects import ObjectRow, Objects
from beanpole.services.s3.router import copy_source
from beanpole.services.s3.threads import Threads

COPY_SOURCE_IF = "x-amz-copy-source-if-"


class ObjectCalls:
    def __init__(self, threads: Threads, buckets: Buckets, objects: Objects) -> None:
        self._run = threads.run
        self._stage = threads.stage
        self._buckets = buckets
        self._objects = objects

    def handlers(self) -> dict[str, CallHandler]:
        return {
            "PutObject": self._put,
            "CopyObject": self._copy,
            "GetObject": self._get,
            "HeadObject": self._head,
            "DeleteObject": self._delete,
            "DeleteObjects": self._delete_many,
        }

    async def _put(self, call: Call, request: Request) -> Answer:
        bucket, key = call.params["Bucket"], call.params["Key"]
        headers, conditions = sent_headers(request), Conditions.of(request.header)
        await self._run(self._buckets.require, bucket)
        staged = await self._stage(request)
        details = Details(headers, request.body.checksums)
        content_type = request.header("content-type")
        row = await self._run(self._objects.put, bucket, key, staged, content_type, details, conditions)
        return Answer(headers={"ETag": f'"{row.etag}"', **checksum_headers(row.details.checksums)})

    async def _copy(self, call: Call, request: Request) -> Answer:
        row = await self._run(
            self._objects.copy,
            copy_source(request),
            call.params["Bucket"],
            call.params["Key"],
            partial(copied_details, request),
            Conditions.of(request.header, COPY_SOURCE_IF),
            Conditions.of(request.header),
        )
        return xml(documents.copy_result(row.etag, row.modified_at))

    async def _get(self, call: Call, request: Request) -> Answer:
        row, file = await self._run(self._objects.open, call.params["Bucket"], call.params["Key"])
        try:
            answer, start, length = _read(row, request)
            if answer.status == 304:
                file.close()
                return answer
            file.seek(start)
        except AwsError:
            file.close()
            raise
        return Answer(answer.status, answer.headers, FileContent(file, length))

    async def _head(self, call: Call, request: Request) -> Answer:
        row = await self._run(self._objects.require, call.params["Bucket"], call.params["Key"])
        answer, _, length = _read(row, request)
        if answer.status == 304:
            return answer
        return Answer(answer.status, {**answer.headers, "Content-Length": str(length)})

    async def _delete(self, call: Call, request: Request) -> Answer:
        wanted = [(call.params["Key"], Conditions(match=request.header("if-match")))]
        (refused,) = await self._run(self._objects.delete_each, call.params["Bucket"], wanted)
        if refused is not None:
            raise refused
        return Answer(204)

    async def _delete_many(self, call: Call, request: Request) -> Answer:
        wanted, quiet = bodies.parse_delete(await request.body.read(DOCUMENT_LIMIT))
        tried = [each for each in wanted if each.refused is None]
        pairs = [(each.key, each.conditions) for each in tried]
        refusals = await self._run(self._objects.delete_each, call.params["Bucket"], pairs)
        refused = [(each.key, each.refused) for each in wanted if each.refused is not None]
        refused += [(each.key, error) for each, error in zip(tried, refusals, strict=True) if error is not None]
        gone = [each.key for each, error in zip(tried, refusals, strict=True) if error is None]
        return xml(documents.delete_result([] if quiet else gone, refused))


def _read(row: ObjectRow, request: Request) -> tuple[Answer, int, int]:
    """Status and headers of the answer to GET and HEAD, then first byte and length of its content."""
    headers = object_headers(row, request)
    if Conditions.of(request.header).is_unchanged(row.etag, row.modified_at):
        return Answer(304, headers), 0, 0
    if request.query.get("partNumber", "1") != "1":
        # An object is kept whole, however it came: it has one part.
        raise AwsError("InvalidPartNumber", "The object has no part of that number.", 416, ActualPartCount="1")
    wanted = request.header("range") if is_same(request.header("if-range"), row.etag, row.modified_at) else None
    part = byte_range(wanted, row.size)
    if part is None:
        return Answer(200, {**headers, **asked_checksums(row, request)}), 0, row.size
    start, length = part
    headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{row.size}"
    return Answer(206, headers), start, length
