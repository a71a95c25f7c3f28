"""Form fields → the typed parameters of an operation, by its shape.

What a client of botocore serialises comes back equal. Unknown parameters are ignored, as AWS does. A wrong type or a
value that breaks a rule of the model (required, length, range, pattern, enumeration) is an error that names the
parameter as it was sent; values are never repeated, they may be secrets.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from datetime import UTC, datetime
from typing import Any

from botocore.model import OperationModel, Shape

from beanpole.aws.errors import AwsError
from beanpole.aws.form import Field, printable

INTEGER_RANGES = {"integer": 2**31, "long": 2**63}
"""One more than the greatest value of each type."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INDEX = re.compile(r"[1-9][0-9]{0,5}")
_EPOCH = re.compile(r"-?[0-9]{9,12}(\.[0-9]{1,9})?")


def parse_parameters(operation: OperationModel, form: Field) -> dict[str, Any]:
    """The members of the operation's input that were sent, by their names in the model."""
    shape = operation.input_shape
    if shape is None:
        return {}
    reader = _Reader(ec2=operation.service_model.metadata["protocol"] == "ec2")
    return reader.structure(shape, form, "")


class _Reader:
    """Reads one tree. The two dialects differ in names (EC2 capitalises) and lists (EC2 has no `.member`)."""

    def __init__(self, ec2: bool) -> None:
        self._ec2 = ec2
        self._readers = {
            "structure": self.structure,
            "list": self._list,
            "map": self._map,
        }

    def value(self, shape: Shape, field: Field, path: str) -> Any:
        read = self._readers.get(shape.type_name)
        if read is not None:
            return read(shape, field, path)
        if field.children:
            raise AwsError("InvalidParameterValue", f"Parameter {path} takes a single value.")
        return _scalar(shape, field.value or "", path)

    def structure(self, shape: Shape, field: Field, path: str) -> dict[str, Any]:
        if field.value:
            raise AwsError("InvalidParameterValue", f"Parameter {path} takes named members, such as {path}.NAME=….")
        found: dict[str, Any] = {}
        for name, member in shape.members.items():
            wire = self._wire_name(member, name)
            below = f"{path}.{wire}" if path else wire
            child = field.children.get(wire)
            if child is not None and not _is_nothing(member, child):
                found[name] = self.value(member, child, below)
            elif name in shape.required_members:
                raise AwsError("MissingParameter", f"The call needs the parameter {below}.")
        return found

    def _list(self, shape: Shape, field: Field, path: str) -> list[Any]:
        if field.value:
            raise AwsError("InvalidParameterValue", f"Parameter {path} takes a list, such as {path}.member.1=….")
        items, path = self._items(shape, field, path, shape.member.serialization.get("name", "member"))
        found = [self.value(shape.member, child, f"{path}.{number}") for number, child in items]
        _check_size(shape, len(found), path, "entries")
        return found

    def _map(self, shape: Shape, field: Field, path: str) -> dict[str, Any]:
        if field.value:
            raise AwsError("InvalidParameterValue", f"Parameter {path} takes a map, such as {path}.entry.1.key=….")
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        items, path = self._items(shape, field, path, "entry")
        found: dict[str, Any] = {}
        for number, child in items:
            key, value = child.children.get(key_name), child.children.get(value_name)
            if key is None or value is None:
                raise AwsError("MissingParameter", f"Parameter {path}.{number} needs a {key_name} and a {value_name}.")
            name = self.value(shape.key, key, f"{path}.{number}.{key_name}")
            found[name] = self.value(shape.value, value, f"{path}.{number}.{value_name}")
        _check_size(shape, len(found), path, "entries")
        return found

    def _items(self, shape: Shape, field: Field, path: str, name: str) -> tuple[list[tuple[int, Field]], str]:
        """The numbered fields of a list or map in the order of their numbers, and the path that they hang from."""
        if not self._is_flat(shape):
            if unusable := next((key for key in field.children if key != name), None):
                wanted = f"{path}.{name}.1 and so on, not {path}.{printable(unusable)}"
                raise AwsError("InvalidParameterValue", f"Parameter {path} takes {wanted}.")
            field, path = field.children.get(name, Field()), f"{path}.{name}"
        if unusable := next((key for key in field.children if not _INDEX.fullmatch(key)), None):
            what = f"Parameter {path} is a list: {printable(unusable)!r} is not the number of an entry."
            raise AwsError("InvalidParameterValue", what)
        return sorted((int(key), child) for key, child in field.children.items()), path

    def _is_flat(self, shape: Shape) -> bool:
        return self._ec2 or bool(shape.serialization.get("flattened"))

    def _wire_name(self, shape: Shape, name: str) -> str:
        traits = shape.serialization
        if self._ec2:
            given = traits.get("queryName")
            found = given or traits.get("name") or name
            return str(given or found[0].upper() + found[1:])
        if shape.type_name == "list" and traits.get("flattened"):
            return str(shape.member.serialization.get("name") or traits.get("name", name))
        return str(traits.get("name", name))


def _is_nothing(shape: Shape, field: Field) -> bool:
    # Clients write an empty structure as nothing at all or as `Tier=`; an empty list is a value (`Tags=`).
    return shape.type_name == "structure" and not field.value and not field.children


def _scalar(shape: Shape, text: str, path: str) -> Any:
    match shape.type_name:
        case "string" | "character":
            return _string(shape, text, path)
        case "boolean":
            if text.lower() not in ("true", "false"):
                raise _wrong_type(path, "true or false")
            return text.lower() == "true"
        case "integer" | "long":
            return _integer(shape, text, path)
        case "float" | "double":
            try:
                return float(text)
            except ValueError:
                raise _wrong_type(path, "a number") from None
        case "timestamp":
            return _timestamp(text, path)
        case "blob":
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise _wrong_type(path, "bytes in base64") from None
        case other:
            raise TypeError(f"the model has a {other} at {path}, which the query protocol does not know")


def _string(shape: Shape, text: str, path: str) -> str:
    _check_size(shape, len(text), path, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, text):
        raise AwsError("ValidationError", f"Parameter {path} does not match the pattern {pattern}")
    allowed = shape.metadata.get("enum")
    if allowed and text not in allowed:
        raise AwsError("ValidationError", f"Parameter {path} must be one of: {', '.join(allowed)}.")
    return text


def _integer(shape: Shape, text: str, path: str) -> int:
    limit = INTEGER_RANGES[shape.type_name]
    if not _INTEGER.fullmatch(text) or not -limit <= int(text) < limit:
        raise _wrong_type(path, "a whole number")
    value = int(text)
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        raise AwsError("ValidationError", f"Parameter {path} is {value}; the least is {least}.")
    if most is not None and value > most:
        raise AwsError("ValidationError", f"Parameter {path} is {value}; the most is {most}.")
    return value


def _timestamp(text: str, path: str) -> datetime:
    try:
        if _EPOCH.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _wrong_type(path, "a time such as 2026-10-12T08:29:31Z") from None


def _check_size(shape: Shape, size: int, path: str, unit: str) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        raise AwsError("ValidationError", f"Parameter {path} has {size} {unit}; it needs at least {least}.")
    if most is not None and size > most:
        raise AwsError("ValidationError", f"Parameter {path} has {size} {unit}; at most {most} are allowed.")


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        # The models are written for another engine; a pattern that ours cannot read (\p{…}) is not enforced.
        return None


def _matches(pattern: str, text: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(text) is not None


def _wrong_type(path: str, wanted: str) -> AwsError:
    return AwsError("InvalidParameterValue", f"Parameter {path} takes {wanted}.")
