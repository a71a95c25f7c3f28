"""Lists in pages: MaxRecords and NextToken."""

from __future__ import annotations

import re
from typing import TypeVar

from beanpole.control import errors

T = TypeVar("T")

_TOKEN = re.compile("[0-9]{1,9}")
"""Where a page begins. No list has more."""


def page(found: list[T], token: str | None, size: int | None) -> tuple[list[T], str | None]:
    """The page that the token names (the first without one), and the token of the next, None after the last.

    Without a size everything is one page: the EB CLI asks for no second one.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise errors.invalid("NextToken is not one that this operation gave.")
    start = int(token or 0)
    end = len(found) if size is None else start + size
    return found[start:end], str(end) if end < len(found) else None
