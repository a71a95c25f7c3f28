"""The calls that are about uploads in parts."""

from __future__ import annotations

import re

from beanpole.aws.call import Call
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, Request
from beanpole.services.s3 import bodies, documents
from beanpole.services.s3.answers import DOCUMENT_LIMIT, CallHandler, encoding, number, xml
from beanpole.services.s3.completion import Completing, Completion
from beanpole.services.s3.conditions import Conditions
from beanpole.services.s3.details import Details
from beanpole.services.s3.headers import checksum_headers, sent_headers
from beanpole.services.s3.multipart import Uploads
from beanpole.services.s3.object_calls import COPY_SOURCE_IF
from beanpole.services.s3.router import copy_source
from beanpole.services.s3.threads import Threads
from beanpole.store.database import Database

_CHECKSUM = "x-amz-checksum-"


class UploadCalls:
    def __init__(self, threads: Threads, uploads: Uploads, completing: Completing, database: Database) -> None:
        self._run = threads.run
        self._stage = threads.stage
        self._uploads = uploads
        self._completing = completing
        self._database = database

    def handlers(self) -> dict[str, CallHandler]:
        return {
            "CreateMultipartUpload": self._create,
            "UploadPart": self._upload_part,
            "UploadPartCopy": self._copy_part,
            "CompleteMultipartUpload": self._complete,
            "AbortMultipartUpload": self._abort,
            "ListParts": self._list_parts,
            "ListMultipartUploads": self._list_uploads,
        }

    async def _create(self, call: Call, request: Request) -> Answer:
        bucket, key = call.params["Bucket"], call.params["Key"]
        details = Details(sent_headers(request))
        upload_id = await self._run(self._uploads.create, bucket, key, request.header("content-type"), details)
        return xml(documents.upload_created(bucket, key, upload_id))

    async def _upload_part(self, call: Call, request: Request) -> Answer:
        address = _address(call)
        await self._run(self._uploads.require, *address)
        staged = await self._stage(request)
        etag = await self._run(self._uploads.put_part, *address, call.params["PartNumber"], staged)
        return Answer(headers={"ETag": f'"{etag}"', **checksum_headers(request.body.checksums)})

    async def _copy_part(self, call: Call, request: Request) -> Answer:
        etag = await self._run(
            self._uploads.copy_part,
            *_address(call),
            call.params["PartNumber"],
            copy_source(request),
            request.header("x-amz-copy-source-range"),
            Conditions.of(request.header, COPY_SOURCE_IF),
        )
        return xml(documents.copy_result(etag, self._database.now_ms(), "CopyPartResult"))

    async def _complete(self, call: Call, request: Request) -> Answer:
        parts = bodies.parse_complete(await request.body.read(DOCUMENT_LIMIT))
        wanted = Completion(parts, Conditions.of(request.header), _whole_checksums(request), _announced_size(request))
        row = await self._run(self._completing.complete, *_address(call), wanted)
        # The address as the client wrote it, whether the bucket is in the host or in the path.
        location = call.endpoint + request.path.decode("latin-1")
        return xml(documents.upload_completed(row, location))

    async def _abort(self, call: Call, request: Request) -> Answer:
        await self._run(self._uploads.abort, *_address(call))
        return Answer(204)

    async def _list_parts(self, call: Call, request: Request) -> Answer:
        after, limit = number(request.query, "part-number-marker", 0), number(request.query, "max-parts", 1000)
        address = _address(call)
        parts, truncated = await self._run(self._uploads.parts, *address, after, limit)
        return xml(documents.list_parts(*address, parts, after, limit, truncated))

    async def _list_uploads(self, call: Call, request: Request) -> Answer:
        query = request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        key, identifier = after = query.get("key-marker", ""), query.get("upload-id-marker", "")
        limit = number(query, "max-uploads", 1000)
        kind, encode = encoding(query)
        page = await self._run(self._uploads.page, call.params["Bucket"], prefix, delimiter, after, limit)
        head = {"Bucket": call.params["Bucket"], "KeyMarker": encode(key), "UploadIdMarker": identifier}
        head |= {"Prefix": encode(prefix), "MaxUploads": str(limit)}
        head["IsTruncated"] = "false" if page.last is None else "true"
        if page.last is not None:
            ends_with_upload = bool(page.objects) and page.objects[-1].key == page.last
            head["NextKeyMarker"] = encode(page.last)
            head["NextUploadIdMarker"] = page.objects[-1].id if ends_with_upload else ""
        if delimiter:
            head["Delimiter"] = encode(delimiter)
        if kind:
            head["EncodingType"] = kind
        return xml(documents.list_uploads(page, head, encode))


def _address(call: Call) -> tuple[str, str, str]:
    return call.params["Bucket"], call.params["Key"], call.params["UploadId"]


def _whole_checksums(request: Request) -> dict[str, str]:
    """The checksums of the object that is to be. One with a number of parts behind it is of the parts' checksums."""
    sent = {name.removeprefix(_CHECKSUM): value.strip() for name, value in request.headers_from(_CHECKSUM)}
    return {name: value for name, value in sent.items() if not re.search("-[0-9]+$", value)}


def _announced_size(request: Request) -> int | None:
    value = request.header("x-amz-mp-object-size")
    if value is not None and not re.fullmatch("[0-9]{1,15}", value):
        raise AwsError("InvalidArgument", "x-amz-mp-object-size must be a number of bytes.")
    return None if value is None else int(value)
