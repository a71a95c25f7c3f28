"""The XML documents of S3, out and in."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from beanpole.aws.errors import AwsError
from beanpole.aws.xml import document, element, text, timestamp
from beanpole.services.s3.buckets import BucketRow
from beanpole.services.s3.listing import Page
from beanpole.services.s3.multipart import PartRow
from beanpole.services.s3.objects import ObjectRow

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

OWNER = element("Owner", element("ID", "beanpole"), element("DisplayName", "beanpole"))
"""All buckets and objects belong to the one account."""

_DECLARES = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def iso(at: int) -> str:
    """Milliseconds since 1970 as S3 writes a time."""
    return timestamp(datetime.fromtimestamp(at / 1000, UTC))


def url_encoded(key: str) -> str:
    """A key as listings with `encoding-type=url` write it."""
    return quote(key, safe="/")


def list_buckets(buckets: Iterable[BucketRow]) -> bytes:
    items = (
        element("Bucket", element("Name", text(bucket.name)), element("CreationDate", iso(bucket.created_at)))
        for bucket in buckets
    )
    return document("ListAllMyBucketsResult", NAMESPACE, OWNER, element("Buckets", *items))


def bucket_location(region: str) -> bytes:
    # The oldest region has no name here, by contract.
    return document("LocationConstraint", NAMESPACE, "" if region == "us-east-1" else text(region))


def list_objects(page: Page[ObjectRow], head: dict[str, str], encode: Callable[[str], str]) -> bytes:
    """`head`: what the listing says of itself. `encode`: how keys and prefixes are written."""
    contents = (
        element(
            "Contents",
            element("Key", text(encode(row.key))),
            element("LastModified", iso(row.modified_at)),
            element("ETag", text(f'"{row.etag}"')),
            element("Size", str(row.size)),
            OWNER,
            element("StorageClass", "STANDARD"),
        )
        for row in page.objects
    )
    prefixes = (element("CommonPrefixes", element("Prefix", text(encode(prefix)))) for prefix in page.prefixes)
    facts = (element(name, text(value)) for name, value in head.items())
    return document("ListBucketResult", NAMESPACE, *facts, *contents, *prefixes)


def copy_result(row: ObjectRow) -> bytes:
    return document(
        "CopyObjectResult",
        NAMESPACE,
        element("LastModified", iso(row.modified_at)),
        element("ETag", text(f'"{row.etag}"')),
    )


def delete_result(deleted: Iterable[str], refused: Iterable[tuple[str, AwsError]]) -> bytes:
    done = (element("Deleted", element("Key", text(key))) for key in deleted)
    errors = (
        element(
            "Error",
            element("Key", text(key)),
            element("Code", text(error.code)),
            element("Message", text(error.message)),
        )
        for key, error in refused
    )
    return document("DeleteResult", NAMESPACE, *done, *errors)


def upload_created(bucket: str, key: str, upload_id: str) -> bytes:
    return document("InitiateMultipartUploadResult", NAMESPACE, *_upload(bucket, key, upload_id))


def upload_completed(row: ObjectRow, location: str) -> bytes:
    return document(
        "CompleteMultipartUploadResult",
        NAMESPACE,
        element("Location", text(location)),
        element("Bucket", text(row.bucket)),
        element("Key", text(row.key)),
        element("ETag", text(f'"{row.etag}"')),
    )


def list_parts(
    bucket: str, key: str, upload_id: str, parts: list[PartRow], after: int, limit: int, truncated: bool
) -> bytes:
    items = (
        element(
            "Part",
            element("PartNumber", str(part.number)),
            element("ETag", text(f'"{part.etag}"')),
            element("Size", str(part.size)),
        )
        for part in parts
    )
    return document(
        "ListPartsResult",
        NAMESPACE,
        *_upload(bucket, key, upload_id),
        element("PartNumberMarker", str(after)),
        element("NextPartNumberMarker", str(parts[-1].number if parts else after)),
        element("MaxParts", str(limit)),
        element("IsTruncated", "true" if truncated else "false"),
        *items,
    )


def parse_delete(body: bytes) -> tuple[list[str], bool]:
    """The keys that a Delete document names, and whether it wants to hear of failures only."""
    root = _parse(body, "Delete")
    keys = [_text(item, "Key") for item in root if item.tag == "Object"]
    if not 1 <= len(keys) <= 1000:
        raise _malformed("Delete needs 1 to 1000 Objects")
    return keys, _text(root, "Quiet", "false").strip().lower() == "true"


def parse_complete(body: bytes) -> list[tuple[int, str]]:
    """The parts that a CompleteMultipartUpload document names: number and ETag without quotes."""
    parts = [item for item in _parse(body, "CompleteMultipartUpload") if item.tag == "Part"]
    found: list[tuple[int, str]] = []
    for part in parts:
        number = _text(part, "PartNumber").strip()
        if not re.fullmatch("[0-9]{1,5}", number):
            raise _malformed("PartNumber must be a number")
        found.append((int(number), _text(part, "ETag").strip().strip('"').lower()))
    return found


def _upload(bucket: str, key: str, upload_id: str) -> tuple[str, str, str]:
    return element("Bucket", text(bucket)), element("Key", text(key)), element("UploadId", text(upload_id))


def _parse(body: bytes, root_name: str) -> ET.Element:
    """The root, with its namespaces taken off."""
    try:
        source = body.decode()
        if _DECLARES.search(source):  # entities are how a small document becomes a huge one
            raise _malformed("it has a document type declaration")
        root = ET.fromstring(source)  # noqa: S314  (without declarations there is nothing to expand or fetch)
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        raise _malformed("it cannot be parsed") from None
    for item in root.iter():
        item.tag = str(item.tag).rpartition("}")[2]
    if root.tag != root_name:
        raise _malformed(f"its root must be {root_name}")
    return root


def _text(item: ET.Element, name: str, default: str | None = None) -> str:
    found = item.findtext(name, default)
    if found is None:
        raise _malformed(f"{item.tag} needs {name}")
    return found


def _malformed(why: str) -> AwsError:
    return AwsError("MalformedXML", f"The XML document is not what the operation takes: {why}.")
