"""What is kept of an object beside its content: what its client said of it."""

from __future__ import annotations

import msgspec


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """`headers` are answered as they are; `checksums` (base64 by algorithm) were checked when the content came.

    `upload` is the id of the upload in parts that the object is from: it tells a repeated completion.
    """

    headers: dict[str, str] = msgspec.field(default_factory=dict)
    checksums: dict[str, str] = msgspec.field(default_factory=dict)
    upload: str | None = None

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Details:
        return msgspec.json.decode(text, type=cls)
