"""Form fields with dotted names, as the query protocol sends them, as a tree.

`A.member.1.B=x` becomes the field A → member → 1 → B with the value "x". Nothing is known here about shapes. Text that
no answer could carry back (XML has no place for most control characters) is refused at the door.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from beanpole.aws.errors import AwsError

MAX_FIELDS = 20_000
"""Fields in one call. The fullest call that makes sense, 2,000 option settings, has 8,000."""

MAX_DEPTH = 16
"""Parts in one name. The deepest name of the models that we serve has 8; a deeper one is an unknown parameter."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 cannot write, not even escaped."""


@dataclass(slots=True)
class Field:
    """One name of the tree: what was sent for it, if anything, and the names below it."""

    value: str | None = None
    children: dict[str, Field] = field(default_factory=dict)


def parse_form(text: bytes) -> Field:
    """The tree of an `application/x-www-form-urlencoded` text; MalformedQueryString when it is none or ambiguous."""
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise AwsError("MalformedQueryString", "The form is not UTF-8. Send it percent-encoded, in UTF-8.") from None
    except ValueError:
        raise AwsError("MalformedQueryString", f"The form has more than {MAX_FIELDS} fields.") from None
    root = Field()
    for name, value in pairs:
        _insert(root, name, value)
    return root


def _insert(root: Field, name: str, value: str) -> None:
    parts = name.split(".", MAX_DEPTH)
    if len(parts) > MAX_DEPTH:
        return
    if bad := NOT_XML.search(value) or NOT_XML.search(name):
        raise AwsError(
            "InvalidParameterValue",
            f"Parameter {printable(name)} holds the character U+{ord(bad[0]):04X}, which the API cannot carry.",
        )
    at = root
    for part in parts:
        at = at.children.setdefault(part, Field())
    if at.value is not None:
        raise AwsError("MalformedQueryString", f"Parameter {printable(name)} was sent more than once.")
    at.value = value


def printable(text: str, limit: int = 100) -> str:
    """Text of a stranger, fit for a message: one line, no control characters, at most `limit` characters."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return shown + "…" if len(text) > limit else shown
