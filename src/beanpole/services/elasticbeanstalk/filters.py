"""Filters of platform lists: an attribute, an operator and values, as the two list operations share them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from beanpole.control import errors

Test = Callable[[str, str], bool]

_TESTS: dict[str, Test] = {
    "=": lambda has, value: has == value,
    "in": lambda has, value: has == value,
    "contains": lambda has, value: value in has,
    "begins_with": lambda has, value: has.startswith(value),
    "ends_with": lambda has, value: has.endswith(value),
    "<": lambda has, value: _order(has) < _order(value),
    "<=": lambda has, value: _order(has) <= _order(value),
    ">": lambda has, value: _order(has) > _order(value),
    ">=": lambda has, value: _order(has) >= _order(value),
}
_NEGATED = {"!=": "=", "not_in": "in"}

BRANCHES = ("=", "!=", "in", "not_in", "contains", "begins_with", "ends_with")
"""The operators of ListPlatformBranches."""

VERSIONS = ("=", "!=", "<", "<=", ">", ">=", "contains", "begins_with", "ends_with")
"""The operators of ListPlatformVersions."""


def passes(has: Any, operator: str, values: Iterable[str], known: tuple[str, ...]) -> bool:
    """Whether what an item has (text, or a list of it) passes for one of the values, in any case.

    Numbers in a text are compared as numbers. InvalidParameterValue for an operator that is not among the `known`.
    """
    if operator not in known:
        raise errors.invalid(f"The filter operator '{operator}' is not one of: {', '.join(known)}.")
    test = _TESTS[_NEGATED.get(operator, operator)]
    having = [str(each).lower() for each in (has if isinstance(has, list) else [has])]
    found = any(test(one, value.lower()) for one in having for value in values)
    return found is not (operator in _NEGATED)


def attribute(item: Mapping[str, Any], name: str, fields: Mapping[str, str]) -> Any:
    """What the item has under an attribute; `fields` tells in which field. InvalidParameterValue for another name."""
    if name not in fields:
        raise errors.invalid(f"The filter attribute '{name}' is not one of: {', '.join(sorted(fields))}.")
    return item[fields[name]]


def _order(text: str) -> list[tuple[int, str]]:
    """ "4.10.0" comes after "4.9.0"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"[0-9]{1,9}|[^0-9]+", text)]
