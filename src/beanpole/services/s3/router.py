"""Which operation a request to S3 means, and on what.

Both styles of address: `/BUCKET/KEY`, and `/KEY` at the host `BUCKET.NAME` for each name that the API is reached by.
A query name or header that an operation does not know is refused: it may make another operation of the request, and a
DELETE of `/bucket?policy` is no DELETE of the bucket.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote_to_bytes

from beanpole.aws.errors import AwsError
from beanpole.aws.form import NOT_XML
from beanpole.aws.request import Request

KEY_LIMIT = 1024
"""Bytes of a key in UTF-8. S3's own limit."""

MOST_PARTS = 10_000
"""The highest number of a part. S3's own limit."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_LIST = frozenset(("delimiter", "encoding-type", "max-keys", "prefix"))
_READ = frozenset(
    (
        *("response-cache-control", "response-content-disposition", "response-content-encoding"),
        *("response-content-language", "response-content-type", "response-expires", "versionId", "partNumber"),
    )
)

_QUERIES: dict[str, frozenset[str]] = {
    "ListBuckets": frozenset(("bucket-region", "continuation-token", "max-buckets", "prefix")),
    "GetBucketLocation": frozenset(("location",)),
    "ListObjects": _LIST | {"marker"},
    "ListObjectsV2": _LIST | {"list-type", "continuation-token", "fetch-owner", "start-after"},
    "ListMultipartUploads": frozenset(
        ("uploads", "delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker")
    ),
    "DeleteObjects": frozenset(("delete",)),
    "GetObject": _READ,
    "HeadObject": _READ,
    "DeleteObject": frozenset(("versionId",)),
    "CreateMultipartUpload": frozenset(("uploads",)),
    "UploadPart": frozenset(("uploadId", "partNumber")),
    "UploadPartCopy": frozenset(("uploadId", "partNumber")),
    "CompleteMultipartUpload": frozenset(("uploadId",)),
    "AbortMultipartUpload": frozenset(("uploadId",)),
    "ListParts": frozenset(("uploadId", "max-parts", "part-number-marker")),
}
"""The query names that each operation understands; those that are not here understand none."""

_REFUSED_HEADERS = (
    *("x-amz-write-offset-bytes", "x-amz-rename-source", "x-amz-tagging"),
    *("x-amz-if-match-initiated-time", "x-amz-if-match-last-modified-time", "x-amz-if-match-size"),
    *("x-amz-object-lock-mode", "x-amz-object-lock-legal-hold", "x-amz-object-lock-event-hold"),
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
)
"""Headers that ask for something that a client would miss if nothing were said."""


def route(request: Request, names: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The operation's name and its `Bucket`, `Key`, `UploadId`, `PartNumber` as far as it has them.

    `names` are the host names under which the API is reached, in lower case.
    """
    bucket, key = _address(request, names)
    if not bucket:
        operation = "ListBuckets" if request.method == "GET" else None
    else:
        operation = _of_object(request) if key else _of_bucket(request)
    _check_understood(request, operation)
    if operation is None:
        what = "an object" if key else "a bucket" if bucket else "the service"
        message = f"{request.method} means nothing here on {what}."
        raise AwsError("MethodNotAllowed", message, 405, Method=request.method)
    params: dict[str, Any] = {"Bucket": bucket} if bucket else {}
    if key:
        params["Key"] = key
    if "uploadId" in request.query:
        params["UploadId"] = request.query["uploadId"]
    if operation in ("UploadPart", "UploadPartCopy"):
        params["PartNumber"] = _part_number(request.query["partNumber"])
    return operation, params


def check_key(key: str) -> str:
    """The key itself, or the AwsError that says why it is none."""
    if not key or len(key.encode(errors="surrogatepass")) > KEY_LIMIT:
        raise AwsError("KeyTooLongError", f"A key has 1 to {KEY_LIMIT} bytes.")
    if bad := NOT_XML.search(key):
        what = f"The key holds the character U+{ord(bad[0]):04X}, which no listing can carry."
        raise AwsError("InvalidArgument", what)
    return key


def check_bucket_name(name: str) -> str:
    """The name itself, or the AwsError that says why it is none."""
    if not _BUCKET.fullmatch(name):
        what = "A bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens."
        raise AwsError("InvalidBucketName", what, BucketName=name)
    return name


def copy_source(request: Request) -> tuple[str, str]:
    """Bucket and key of what is to be copied."""
    source, _, query = (request.header("x-amz-copy-source") or "").partition("?")
    if query not in ("", "versionId=null"):
        raise _not_built("other versions of an object than the last")
    try:
        raw = source.removeprefix("/").encode("latin-1")
    except UnicodeEncodeError:
        raise AwsError("InvalidURI", "x-amz-copy-source is not percent-encoded.") from None
    bucket, _, key = _decoded(raw).partition("/")
    return bucket, key


def _address(request: Request, names: Collection[str]) -> tuple[str, str]:
    path = _decoded(request.path.removeprefix(b"/"))
    bucket = _bucket_in_host(request.header("host") or "", names)
    if bucket is not None:
        return check_bucket_name(bucket), (check_key(path) if path else "")
    bucket, _, key = path.partition("/")
    if not bucket and key:
        raise AwsError("InvalidURI", "The path names no bucket: it begins with two slashes.")
    return (check_bucket_name(bucket) if bucket else ""), (check_key(key) if key else "")


def _bucket_in_host(host: str, names: Collection[str]) -> str | None:
    host = host.lower().partition(":")[0].removesuffix(".")
    if host in names:
        return None
    # The longest: where api.localhost is a name too, its buckets are below it.
    name = max((name for name in names if host.endswith(f".{name}")), key=len, default=None)
    return None if name is None else host.removesuffix(f".{name}")


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "The path is not UTF-8.") from None


def _of_bucket(request: Request) -> str | None:
    query = request.query
    match request.method:
        case "GET" if "location" in query:
            return "GetBucketLocation"
        case "GET" if "uploads" in query:
            return "ListMultipartUploads"
        case "GET":
            return "ListObjectsV2" if query.get("list-type") == "2" else "ListObjects"
        case "POST":
            return "DeleteObjects" if "delete" in query else None
        case method:
            return {"PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}.get(method)


def _of_object(request: Request) -> str | None:
    copies = request.header("x-amz-copy-source") is not None
    match request.method, "uploadId" in request.query:
        case "GET", in_parts:
            return "ListParts" if in_parts else "GetObject"
        case "HEAD", False:
            return "HeadObject"
        case "PUT", True if "partNumber" in request.query:
            return "UploadPartCopy" if copies else "UploadPart"
        case "PUT", False:
            return "CopyObject" if copies else "PutObject"
        case "POST", True:
            return "CompleteMultipartUpload"
        case "POST", False if "uploads" in request.query:
            return "CreateMultipartUpload"
        case "DELETE", in_parts:
            return "AbortMultipartUpload" if in_parts else "DeleteObject"
        case _:
            return None


def _check_understood(request: Request, operation: str | None) -> None:
    """NotImplemented for a request that asks for more, or for something else, than the operation does."""
    known = _QUERIES.get(operation or "", frozenset())
    for name, value in request.query.items():
        lower = name.lower()
        # x-id is the operation's name, which some SDKs add; x-amz-… are signatures, and headers in the query.
        if lower != "x-id" and not lower.startswith("x-amz-") and name not in known:
            raise _not_built(f"{request.method} with ?{name}")
        if (lower == "x-id" and operation is not None and value != operation) or (
            name == "versionId" and value != "null"
        ):
            raise _not_built(f"{request.method} with ?{name}={value}")
    for name in _REFUSED_HEADERS:
        if request.header(name) is not None:
            raise _not_built(f"the header {name}")


def _part_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= MOST_PARTS:
        raise AwsError("InvalidArgument", f"partNumber must be a number from 1 to {MOST_PARTS}.")
    return int(text)


def _not_built(what: str) -> AwsError:
    return AwsError("NotImplemented", f"Beanpole's S3 does not have {what}.", 501)
