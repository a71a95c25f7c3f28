"""What the calls of S3 have in common: the type of a handler, XML answers, numbers in queries."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from beanpole.aws.call import Call
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, Request
from beanpole.services.s3.documents import url_encoded

DOCUMENT_LIMIT = 2 * 1024 * 1024
"""Bytes of an XML body: 10,000 parts or 1,000 keys of full length."""

CallHandler = Callable[[Call, Request], Awaitable[Answer]]


def xml(content: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(200, {"Content-Type": "application/xml", **(headers or {})}, content)


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of the query, at most 1000 unless it is a marker."""
    value = query.get(name)
    if value is None:
        return default
    if not re.fullmatch("[0-9]{1,9}", value):
        raise AwsError("InvalidArgument", f"{name} must be a number, 0 or more.")
    return min(int(value), 1000) if name.startswith("max-") else int(value)


def encoding(query: Mapping[str, str]) -> tuple[str | None, Callable[[str], str]]:
    """The `encoding-type` of a listing, and what it does to a key."""
    kind = query.get("encoding-type")
    if kind not in (None, "url"):
        raise AwsError("InvalidArgument", "encoding-type must be url.")
    return kind, url_encoded if kind else str
