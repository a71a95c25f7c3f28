"""The arguments of a job, read one by one; what is missing or of another kind fails the job in one sentence."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from .failure import JobFailure


class Arguments:
    """The arguments of one job of that kind."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.kind = kind
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._wrong(name, "text")
        return value

    def text_or_empty(self, name: str) -> str:
        return self.text(name) if self._values.get(name) else ""

    def text_or_none(self, name: str) -> Optional[str]:
        return None if self._values.get(name) is None else self.text(name)

    def number(self, name: str, default: Optional[float] = None) -> float:
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise self._wrong(name, "a number, 0 or more")
        return float(value)

    def integer_or_none(self, name: str) -> Optional[int]:
        value = self._values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self._wrong(name, "a whole number or null")
        return value

    def flag(self, name: str) -> bool:
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def items(self, name: str) -> List[Any]:
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value

    def objects(self, name: str) -> List[Arguments]:
        """A list of objects, each to be read like these arguments."""
        items = self.items(name)
        if not all(isinstance(item, dict) for item in items):
            raise self._wrong(name, "a list of objects")
        return [Arguments(f"{self.kind}.{name}", item) for item in items]

    def objects_or_empty(self, name: str) -> List[Arguments]:
        return [] if self._values.get(name) is None else self.objects(name)

    def texts_or_none(self, name: str) -> Optional[List[str]]:
        if self._values.get(name) is None:
            return None
        items = self.items(name)
        if not all(isinstance(item, str) for item in items):
            raise self._wrong(name, "a list of text")
        return items

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return value

    def variables(self, name: str) -> Dict[str, str]:
        """Environment variables: text to text, as the kernel can hold them."""
        value = self.mapping(name)
        for key, text in value.items():
            if not isinstance(text, str) or not key or "=" in key or "\0" in key + text:
                raise self._wrong(f"{name}.{key}", "a variable's text without NUL, and its name without =")
        return dict(value)

    def command(self, name: str) -> "str | List[str]":
        """A line for the shell, or the words of one command."""
        value = self._values.get(name)
        if isinstance(value, list) and value and all(isinstance(word, str) and "\0" not in word for word in value):
            return value
        return self.text(name)

    def _wrong(self, name: str, wanted: str) -> JobFailure:
        message = f"the argument {name} of {self.kind} must be {wanted}"
        return JobFailure(self.kind, message, "Control plane and agent do not fit: update the older one.")
