"""Which operation a request to S3 means, and on what. Path style only: `/BUCKET/KEY`."""

from __future__ import annotations

import re
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

_ASPECTS = frozenset(
    (
        *("accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering", "inventory"),
        *("legal-hold", "lifecycle", "logging", "metadataConfiguration", "metadataTable", "metrics", "notification"),
        *("object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication"),
        *("requestPayment", "restore", "retention", "select", "select-type", "session", "tagging", "torrent"),
        *("versionId", "versioning", "versions", "website"),
    )
)
"""Queries that ask for another aspect of a bucket or object. To answer them with the thing itself would be wrong: a
DELETE of `/bucket?policy` is no DELETE of the bucket."""


def route(request: Request) -> tuple[str, dict[str, Any]]:
    """The operation's name and its `Bucket`, `Key`, `UploadId`, `PartNumber` as far as it has them."""
    bucket, key = _address(request.path)
    if aspect := next((name for name in request.query if name in _ASPECTS), None):
        raise _not_built(f"{request.method} of ?{aspect}")
    if not bucket:
        return _of_service(request), {}
    if not key:
        return _of_bucket(request), {"Bucket": bucket}
    operation = _of_object(request)
    params: dict[str, Any] = {"Bucket": bucket, "Key": key}
    if "uploadId" in request.query:
        params["UploadId"] = request.query["uploadId"]
    if operation == "UploadPart":
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


def decode_address(text: bytes) -> tuple[str, str]:
    """`BUCKET/KEY`, percent-encoded, as a bucket and a key (each may be empty)."""
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "The path is not UTF-8.") from None
    bucket, _, key = decoded.partition("/")
    return bucket, key


def _address(path: bytes) -> tuple[str, str]:
    bucket, key = decode_address(path.removeprefix(b"/"))
    if not bucket and key:
        raise AwsError("InvalidURI", "The path names no bucket: it begins with two slashes.")
    return (check_bucket_name(bucket) if bucket else ""), (check_key(key) if key else "")


def _of_service(request: Request) -> str:
    if request.method == "GET":
        return "ListBuckets"
    raise _not_allowed(request, "the service")


def _of_bucket(request: Request) -> str:
    match request.method:
        case "GET" if "location" in request.query:
            return "GetBucketLocation"
        case "GET" if "uploads" in request.query:
            raise _not_built("ListMultipartUploads")
        case "GET":
            return "ListObjectsV2" if request.query.get("list-type") == "2" else "ListObjects"
        case "PUT":
            return "CreateBucket"
        case "HEAD":
            return "HeadBucket"
        case "DELETE":
            return "DeleteBucket"
        case "POST" if "delete" in request.query:
            return "DeleteObjects"
        case _:
            raise _not_allowed(request, "a bucket")


def _of_object(request: Request) -> str:
    copies = request.header("x-amz-copy-source") is not None
    match request.method, "uploadId" in request.query:
        case "GET", True:
            return "ListParts"
        case "GET", False:
            return "GetObject"
        case "HEAD", False:
            return "HeadObject"
        case "PUT", True if copies:
            raise _not_built("UploadPartCopy")
        case "PUT", True if "partNumber" in request.query:
            return "UploadPart"
        case "PUT", False:
            return "CopyObject" if copies else "PutObject"
        case "POST", True:
            return "CompleteMultipartUpload"
        case "POST", False if "uploads" in request.query:
            return "CreateMultipartUpload"
        case "DELETE", True:
            return "AbortMultipartUpload"
        case "DELETE", False:
            return "DeleteObject"
        case _:
            raise _not_allowed(request, "an object")


def _part_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= MOST_PARTS:
        raise AwsError("InvalidArgument", f"partNumber must be a number from 1 to {MOST_PARTS}.")
    return int(text)


def _not_built(what: str) -> AwsError:
    return AwsError("NotImplemented", f"Beanpole's S3 does not have {what}.", 501)


def _not_allowed(request: Request, what: str) -> AwsError:
    return AwsError("MethodNotAllowed", f"{request.method} means nothing here on {what}.", 405, Method=request.method)
