"""The XML documents that S3 answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from beanpole.aws.errors import AwsError
from beanpole.aws.xml import document, element, text, timestamp
from beanpole.services.s3.buckets import BucketRow
from beanpole.services.s3.listing import Page
from beanpole.services.s3.multipart import PartRow, UploadRow
from beanpole.services.s3.objects import ObjectRow

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

OWNER = element("Owner", element("ID", "beanpole"), element("DisplayName", "beanpole"))
"""All buckets and objects belong to the one account."""


def iso(at: int) -> str:
    """Milliseconds since 1970 as S3 writes a time."""
    return timestamp(datetime.fromtimestamp(at / 1000, UTC))


def url_encoded(key: str) -> str:
    """A key as listings with `encoding-type=url` write it."""
    return quote(key, safe="/")


def list_buckets(buckets: Iterable[BucketRow], head: dict[str, str]) -> bytes:
    """`head`: what the listing says of itself."""
    items = (
        element("Bucket", element("Name", text(bucket.name)), element("CreationDate", iso(bucket.created_at)))
        for bucket in buckets
    )
    return document("ListAllMyBucketsResult", NAMESPACE, OWNER, element("Buckets", *items), *_facts(head))


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
    return document("ListBucketResult", NAMESPACE, *_facts(head), *contents, *_prefixes(page.prefixes, encode))


def list_uploads(page: Page[UploadRow], head: dict[str, str], encode: Callable[[str], str]) -> bytes:
    """As `list_objects`."""
    uploads = (
        element(
            "Upload",
            element("Key", text(encode(row.key))),
            element("UploadId", text(row.id)),
            element("Initiator", element("ID", "beanpole"), element("DisplayName", "beanpole")),
            OWNER,
            element("StorageClass", "STANDARD"),
            element("Initiated", iso(row.created_at)),
        )
        for row in page.objects
    )
    prefixes = _prefixes(page.prefixes, encode)
    return document("ListMultipartUploadsResult", NAMESPACE, *_facts(head), *uploads, *prefixes)


def copy_result(etag: str, at: int, root: str = "CopyObjectResult") -> bytes:
    return document(root, NAMESPACE, element("LastModified", iso(at)), element("ETag", text(f'"{etag}"')))


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


def _upload(bucket: str, key: str, upload_id: str) -> tuple[str, str, str]:
    return element("Bucket", text(bucket)), element("Key", text(key)), element("UploadId", text(upload_id))


def _facts(head: dict[str, str]) -> Iterable[str]:
    return (element(name, text(value)) for name, value in head.items())


def _prefixes(prefixes: Iterable[str], encode: Callable[[str], str]) -> Iterable[str]:
    return (element("CommonPrefixes", element("Prefix", text(encode(prefix)))) for prefix in prefixes)
