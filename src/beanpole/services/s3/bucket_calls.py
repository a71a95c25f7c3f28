"""The calls that are about buckets: make and remove them, list them and what is in them."""

from __future__ import annotations

import base64
import binascii

from beanpole.aws.call import Call
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, Request
from beanpole.services.s3 import bodies, documents
from beanpole.services.s3.answers import DOCUMENT_LIMIT, CallHandler, encoding, number, xml
from beanpole.services.s3.buckets import Buckets
from beanpole.services.s3.objects import Objects
from beanpole.services.s3.threads import Threads

MOST_BUCKETS = 10_000
"""Buckets on one page of their list. S3's own limit."""


class BucketCalls:
    def __init__(self, threads: Threads, buckets: Buckets, objects: Objects) -> None:
        self._run = threads.run
        self._buckets = buckets
        self._objects = objects

    def handlers(self) -> dict[str, CallHandler]:
        return {
            "ListBuckets": self._list_buckets,
            "CreateBucket": self._create,
            "HeadBucket": self._head,
            "DeleteBucket": self._delete,
            "GetBucketLocation": self._location,
            "ListObjects": self._list_objects,
            "ListObjectsV2": self._list_objects_v2,
        }

    async def _list_buckets(self, call: Call, request: Request) -> Answer:
        query = request.query
        prefix, after = query.get("prefix", ""), _from_token(query.get("continuation-token", ""))
        most = query.get("max-buckets", str(MOST_BUCKETS))
        if not most.isascii() or not most.isdecimal() or not 1 <= int(most[:9]) <= MOST_BUCKETS:
            raise AwsError("InvalidArgument", f"max-buckets must be a number from 1 to {MOST_BUCKETS}.")
        here = query.get("bucket-region", call.region) == call.region
        rows = await self._run(self._buckets.all)
        rows = [row for row in rows if here and row.name.startswith(prefix) and row.name > after]
        head = {"Prefix": prefix} if prefix else {}
        if len(rows) > int(most):
            head["ContinuationToken"] = _token(rows[int(most) - 1].name)
        return xml(documents.list_buckets(rows[: int(most)], head))

    async def _create(self, call: Call, request: Request) -> Answer:
        # A wish for a region, if there is one, says nothing: there is only this one.
        bodies.check_create_bucket(await request.body.read(DOCUMENT_LIMIT))
        await self._run(self._buckets.create, call.params["Bucket"])
        return Answer(headers={"Location": f"/{call.params['Bucket']}"})

    async def _head(self, call: Call, request: Request) -> Answer:
        await self._run(self._buckets.require, call.params["Bucket"])
        return Answer(headers={"x-amz-bucket-region": call.region})

    async def _delete(self, call: Call, request: Request) -> Answer:
        await self._run(self._buckets.delete, call.params["Bucket"])
        return Answer(204)

    async def _location(self, call: Call, request: Request) -> Answer:
        await self._run(self._buckets.require, call.params["Bucket"])
        return xml(documents.bucket_location(call.region))

    async def _list_objects(self, call: Call, request: Request) -> Answer:
        return await self._list(call, request, request.query.get("marker", ""), v2=False)

    async def _list_objects_v2(self, call: Call, request: Request) -> Answer:
        token = request.query.get("continuation-token")
        after = request.query.get("start-after", "") if token is None else _from_token(token)
        return await self._list(call, request, after, v2=True)

    async def _list(self, call: Call, request: Request, after: str, *, v2: bool) -> Answer:
        query = request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = number(query, "max-keys", 1000)
        kind, encode = encoding(query)
        page = await self._run(self._objects.page, call.params["Bucket"], prefix, delimiter, after, limit)
        head = {"Name": call.params["Bucket"], "Prefix": encode(prefix), "MaxKeys": str(limit)}
        head["IsTruncated"] = "false" if page.last is None else "true"
        if delimiter:
            head["Delimiter"] = encode(delimiter)
        if kind:
            head["EncodingType"] = kind
        if v2:
            head["KeyCount"] = str(page.count)
            for name, value in (("ContinuationToken", "continuation-token"), ("StartAfter", "start-after")):
                if value in query:
                    head[name] = encode(query[value]) if name == "StartAfter" else query[value]
            if page.last is not None:
                head["NextContinuationToken"] = _token(page.last)
        else:
            head["Marker"] = encode(after)
            if page.last is not None:
                head["NextMarker"] = encode(page.last)
        return xml(documents.list_objects(page, head, encode))


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise AwsError("InvalidArgument", "The continuation token is not one of ours.") from None
