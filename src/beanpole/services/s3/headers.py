"""The headers of an object: which of a request's are kept, and which an answer bears. Pure."""

from __future__ import annotations

import email.utils
import re

from beanpole.aws.errors import AwsError
from beanpole.aws.request import Request
from beanpole.services.s3.details import Details
from beanpole.services.s3.objects import ObjectRow

METADATA = "x-amz-meta-"

METADATA_LIMIT = 2048
"""Bytes of all names and values of metadata. S3's own limit."""

_KEPT = ("Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires")
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def sent_headers(request: Request) -> dict[str, str]:
    """What is to be kept with the object. MetadataTooLarge, or InvalidArgument for what no answer could bear."""
    headers = {name: value for name in _KEPT if (value := request.header(name.lower()))}
    if coding := _without_transport(headers.pop("Content-Encoding", "")):
        headers["Content-Encoding"] = coding
    metadata = dict(request.headers_from(METADATA))
    size = sum(len(name) - len(METADATA) + len(value) for name, value in metadata.items())
    if size > METADATA_LIMIT:
        what = f"The metadata has {size} bytes; the limit is {METADATA_LIMIT}."
        raise AwsError("MetadataTooLarge", what, Size=str(size), MaxSizeAllowed=str(METADATA_LIMIT))
    for name, value in (headers | metadata).items():
        if not _NAME.fullmatch(name.lower()) or not _VALUE.fullmatch(value):
            raise AwsError(
                "InvalidArgument", f"{ascii(name)[1:-1]} is not the name, or has not the value, of a header."
            )
    return headers | metadata


def copied_details(request: Request, source: ObjectRow) -> tuple[str | None, Details]:
    """Content type and details of a copy: those of the source, unless the request brings its own."""
    match request.header("x-amz-metadata-directive"):
        case None | "COPY":
            return source.content_type, Details(source.details.headers, source.details.checksums)
        case "REPLACE":
            return request.header("content-type"), Details(sent_headers(request), source.details.checksums)
        case _:
            raise AwsError("InvalidArgument", "x-amz-metadata-directive must be COPY or REPLACE.")


def object_headers(row: ObjectRow, request: Request) -> dict[str, str]:
    """What GET and HEAD say of an object."""
    headers = {
        "ETag": f'"{row.etag}"',
        "Last-Modified": email.utils.formatdate(row.modified_at / 1000, usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": row.content_type or "binary/octet-stream",
        # An object may be a page that somebody uploaded; in a browser it must not act as a page of ours.
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
        **row.details.headers,
    }
    for name in ("Content-Type", *_KEPT):
        value = request.query.get(f"response-{name.lower()}")
        if value is not None:
            if not value.isascii() or not value.isprintable():
                raise AwsError("InvalidArgument", f"response-{name.lower()} is not the value of a header.")
            headers[name] = value
    return headers


def asked_checksums(row: ObjectRow, request: Request) -> dict[str, str]:
    """The checksums of the whole object, if the request wants to have them."""
    wanted = (request.header("x-amz-checksum-mode") or "").upper() == "ENABLED"
    return checksum_headers(row.details.checksums) if wanted else {}


def checksum_headers(checksums: dict[str, str]) -> dict[str, str]:
    headers = {f"x-amz-checksum-{algorithm}": value for algorithm, value in checksums.items()}
    return {**headers, "x-amz-checksum-type": "FULL_OBJECT"} if headers else {}


def _without_transport(coding: str) -> str:
    """The content's own coding: that it was sent in chunks says nothing of it."""
    parts = (part.strip() for part in coding.split(","))
    return ",".join(part for part in parts if part and part.lower() != "aws-chunked")
