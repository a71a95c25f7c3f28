"""Answers of the query protocol, and the error documents of every dialect.

What a handler returns comes out of botocore's parser equal: members that are None are left out, an empty list stays an
empty list, times are ISO 8601 with milliseconds and `Z`. A member that the model does not have is a mistake of ours and
raises. Characters that XML cannot carry (the colours of a log file) become U+FFFD.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from xml.sax.saxutils import escape

from botocore.model import OperationModel, Shape, StructureShape

from beanpole.aws.errors import AwsError
from beanpole.aws.form import NOT_XML

Dialect = Literal["query", "ec2", "s3", "json"]

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


# Nearly no value has any: to look once is a third of the time that the replacements take.
_MARKED = re.compile(f"{NOT_XML.pattern}|[&<>\r]")


def text(value: str) -> str:
    """Text as the content of an element."""
    if _MARKED.search(value) is None:
        return value
    # A parser would turn a bare carriage return into a line feed.
    return escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value), {"\r": "&#13;"})


def element(name: str, *content: str) -> str:
    """An element around content that is already XML."""
    return f"<{name}>{''.join(content)}</{name}>" if content else f"<{name}/>"


def document(root: str, namespace: str, *content: str) -> bytes:
    """A whole document around content that is already XML."""
    return f'{_DECLARATION}<{root} xmlns="{namespace}">{"".join(content)}</{root}>'.encode()


def timestamp(value: datetime) -> str:
    """ISO 8601, milliseconds, `Z`. ValueError for a time without a zone."""
    if value.tzinfo is None:
        raise ValueError(f"a time without a zone: {value!r}")
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def result_document(operation: OperationModel, result: Mapping[str, Any] | None, request_id: str) -> bytes:
    """The answer of an operation that went well. TypeError or ValueError when the result is not of its shape."""
    metadata = operation.service_model.metadata
    shape = operation.output_shape
    content = "".join(_structure(shape, result or {}, operation.name)) if shape is not None else ""
    root = f"{operation.name}Response"
    if metadata["protocol"] == "ec2":
        return document(root, metadata["xmlNamespace"], element("requestId", text(request_id)), content)
    if shape is not None and "resultWrapper" in shape.serialization:
        content = element(shape.serialization["resultWrapper"], content)
    return document(
        root, metadata["xmlNamespace"], content, element("ResponseMetadata", element("RequestId", text(request_id)))
    )


def error_document(dialect: Dialect, error: AwsError, request_id: str) -> bytes:
    """The answer of a call that did not go well."""
    code, message = element("Code", text(error.code)), element("Message", text(error.message))
    match dialect:
        case "json":
            return json.dumps({"__type": error.code, "message": error.message}).encode()
        case "s3":
            more = [element(name, text(value)) for name, value in error.details.items()]
            content = element("Error", code, message, *more, element("RequestId", text(request_id)))
        case "ec2":
            content = element(
                "Response", element("Errors", element("Error", code, message)), element("RequestID", text(request_id))
            )
        case "query":
            content = element(
                "ErrorResponse",
                element("Error", element("Type", error.fault), code, message),
                element("RequestId", text(request_id)),
            )
    return (_DECLARATION + content).encode()


def _structure(shape: StructureShape, value: Any, path: str) -> list[str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{path} must be a mapping, not {type(value).__name__}")
    members = _members(shape)
    if unknown := value.keys() - members.keys():
        raise ValueError(f"{path} has no member {', '.join(sorted(map(str, unknown)))}")
    parts: list[str] = []
    for name, (wire, member, is_scalar) in members.items():
        content = value.get(name)
        if content is None:
            continue
        if is_scalar and (words := _scalar(member.type_name, content)) is not None:
            parts.append(f"<{wire}>{text(words)}</{wire}>")
        else:
            parts += _member(wire, member, content, f"{path}.{name}")
    return parts


@functools.cache
def _members(shape: StructureShape) -> dict[str, tuple[str, Shape, bool]]:
    """Of a structure, by name: the name on the wire, the shape, whether that is a scalar. Shapes never change."""
    return {
        name: (_wire_name(member, name), member, member.type_name in _PYTHON_TYPES)
        for name, member in shape.members.items()
    }


def _member(name: str, shape: Shape, value: Any, path: str) -> list[str]:
    """The element of one member; for flattened lists and maps one element for each entry."""
    if shape.type_name == "list":
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise TypeError(f"{path} must be a list, not {type(value).__name__}")
        flat = bool(shape.serialization.get("flattened"))
        entry = name if flat else shape.member.serialization.get("name", "member")
        entries = [part for item in value for part in _member(entry, shape.member, item, f"{path}[]")]
        return entries if flat else [element(name, *entries)]
    if shape.type_name == "map":
        flat = bool(shape.serialization.get("flattened"))
        entries = [_entry(name if flat else "entry", shape, key, item, path) for key, item in value.items()]
        return entries if flat else [element(name, *entries)]
    if shape.type_name == "structure":
        return [element(name, *_structure(shape, value, path))]
    words = _scalar(shape.type_name, value)
    if words is None:
        raise TypeError(f"{path} must be a {shape.type_name}, not {type(value).__name__}")
    return [element(name, text(words))]


def _entry(name: str, shape: Shape, key: Any, value: Any, path: str) -> str:
    return element(
        name,
        *_member(shape.key.serialization.get("name") or "key", shape.key, key, f"{path}.key"),
        *_member(shape.value.serialization.get("name") or "value", shape.value, value, f"{path}.{key}"),
    )


def _wire_name(shape: Shape, name: str) -> str:
    traits = shape.serialization
    if shape.type_name == "list" and traits.get("flattened"):
        return str(shape.member.serialization.get("name") or traits.get("name") or name)
    return str(traits.get("name") or name)


_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "character": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": datetime,
    "blob": bytes,
}


def _scalar(kind: str, value: Any) -> str | None:
    """None for what is not of that kind."""
    if not isinstance(value, _PYTHON_TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
