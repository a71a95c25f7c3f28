"""What the headers Range, If-Match and If-None-Match of a request ask. Pure."""

from __future__ import annotations

import re

from beanpole.aws.errors import AwsError

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and length of the part that is wanted, or None for the whole. InvalidRange when it lies outside.

    Several ranges, or what is no range at all, mean the whole, as in S3.
    """
    found = _RANGE.fullmatch((header or "").replace(" ", ""))
    if not found:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size - 1
        reachable = int(suffix) > 0 and size > 0
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
        reachable = start < size
    if not reachable:
        raise AwsError(
            "InvalidRange", f"The object has {size} bytes; the range lies outside.", 416, ActualObjectSize=str(size)
        )
    return start, end - start + 1


def is_unchanged(if_match: str | None, if_none_match: str | None, etag: str) -> bool:
    """True: answer 304, the client has this content already. PreconditionFailed when If-Match wants another one."""
    if if_match is not None and not _names(if_match, etag):
        raise AwsError("PreconditionFailed", "The object has another ETag.", 412, Condition="If-Match")
    return if_none_match is not None and _names(if_none_match, etag)


def _names(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags
