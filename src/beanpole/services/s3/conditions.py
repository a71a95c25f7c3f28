"""What the headers Range and If-… of a request ask. Pure."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from beanpole.aws.errors import AwsError

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_SOURCE_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a request is to be done. ETags as they were sent, times in whole seconds since 1970."""

    match: str | None = None
    none_match: str | None = None
    modified_since: int | None = None
    unmodified_since: int | None = None

    @classmethod
    def of(cls, header: Callable[[str], str | None], prefix: str = "if-") -> Conditions:
        """Those in the headers that begin with `prefix`. A time that is none asks nothing, as in HTTP."""
        return cls(
            header(f"{prefix}match"),
            header(f"{prefix}none-match"),
            _seconds(header(f"{prefix}modified-since")),
            _seconds(header(f"{prefix}unmodified-since")),
        )

    def is_unchanged(self, etag: str, modified_at: int) -> bool:
        """True: answer 304, the reader has this content already. PreconditionFailed when it wants another one.

        `modified_at` is in milliseconds. ETags outrank times.
        """
        modified = modified_at // 1000  # what Last-Modified can say
        if self.match is not None:
            if not _names(self.match, etag):
                raise _failed("The object has another ETag.", "If-Match")
        elif self.unmodified_since is not None and modified > self.unmodified_since:
            raise _failed("The object was modified since.", "If-Unmodified-Since")
        if self.none_match is not None:
            return _names(self.none_match, etag)
        return self.modified_since is not None and modified <= self.modified_since

    def check_copy(self, etag: str, modified_at: int) -> None:
        """PreconditionFailed unless a source of that state is to be copied."""
        if self.is_unchanged(etag, modified_at):
            raise _failed("The source is not another one, or not newer, than the request asks for.", "If-None-Match")

    def check_write(self, etag: str | None) -> None:
        """PreconditionFailed, or NoSuchKey, unless an object of that ETag (None: no object) may be replaced or go."""
        if self.none_match is not None:
            if self.none_match.strip() != "*":
                what = "If-None-Match of what changes an object must be *."
                raise AwsError("NotImplemented", what, 501, Header="If-None-Match")
            if etag is not None:
                raise _failed("There is an object of that key already.", "If-None-Match")
        if self.match is not None:
            if etag is None:
                raise AwsError("NoSuchKey", "There is no object of that key, and If-Match asks for one.", 404)
            if not _names(self.match, etag):
                raise _failed("The object has another ETag.", "If-Match")


ALWAYS = Conditions()
"""No condition."""


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
        raise _outside(size)
    return start, end - start + 1


def source_range(header: str | None, size: int) -> tuple[int, int]:
    """First byte and length of what is to be copied. Here a range must be whole and lie inside."""
    if header is None:
        return 0, size
    found = _SOURCE_RANGE.fullmatch(header.strip())
    if not found or int(found[2]) < int(found[1]):
        raise AwsError("InvalidArgument", "x-amz-copy-source-range must be bytes=FIRST-LAST.")
    if int(found[2]) >= size:
        raise _outside(size)
    return int(found[1]), int(found[2]) - int(found[1]) + 1


def is_same(if_range: str | None, etag: str, modified_at: int) -> bool:
    """Whether a range is wanted of this content: a client that has the rest of another one needs the whole."""
    if if_range is None:
        return True
    at = _seconds(if_range)
    return modified_at // 1000 == at if at is not None else if_range.strip() == f'"{etag}"'


def _names(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags


def _seconds(date: str | None) -> int | None:
    try:
        at = email.utils.parsedate_to_datetime(date) if date else None
        return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()) if at else None
    except (ValueError, OverflowError):
        return None


def _failed(what: str, condition: str) -> AwsError:
    return AwsError("PreconditionFailed", what, 412, Condition=condition)


def _outside(size: int) -> AwsError:
    return AwsError(
        "InvalidRange", f"The object has {size} bytes; the range lies outside.", 416, ActualObjectSize=str(size)
    )
