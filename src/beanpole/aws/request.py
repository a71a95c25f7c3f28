"""What a REST service (S3) gets of a request, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl

from beanpole.aws.body import Body
from beanpole.aws.errors import AwsError
from beanpole.aws.sigv4 import Message


@dataclass(frozen=True, slots=True)
class FileContent:
    """`length` bytes of an open file from where it stands. Whoever sends them closes it."""

    file: BinaryIO
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status, headers beyond those that every answer has, and the content."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | FileContent = b""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a REST service. `path` is raw (percent-encoded) and begins with a slash, below any mount point."""

    message: Message
    path: bytes
    query: Mapping[str, str]
    body: Body

    @property
    def method(self) -> str:
        return self.message.method

    def header(self, name: str) -> str | None:
        """The values of a header (name in lower case) joined by commas, or None.

        SDKs that presign write headers whose names begin with x-amz- into the query: they are found there too.
        """
        value = self.message.header(name)
        return self.query.get(name) if value is None and name.startswith("x-amz-") else value

    def headers_from(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Name and value of every header whose name begins with `prefix`, which begins with x-amz-; each name once."""
        sent = {name.decode("latin-1") for name, _ in self.message.headers} | self.query.keys()
        return ((name, self.header(name) or "") for name in sorted(sent) if name.startswith(prefix))


def parse_query(query: bytes) -> dict[str, str]:
    """The decoded query of a URL; of a repeated name the first value. InvalidArgument when it is not UTF-8."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except (UnicodeDecodeError, ValueError):
        raise AwsError("InvalidArgument", "The query is not percent-encoded UTF-8 of at most 100 names.") from None
    return dict(reversed(pairs))
