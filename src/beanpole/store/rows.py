"""Rows of a query as values: one struct type a noun, its fields named as the columns are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def first(db: sa.Connection, query: sa.Executable, kind: type[T], **parameters: object) -> T | None:
    """The first row of the query as a `kind`, or None."""
    result = db.execute(query, parameters or None)
    row = result.first()
    return None if row is None else _values(result, [row], kind)[0]


def every(db: sa.Connection, query: sa.Executable, kind: type[T], **parameters: object) -> list[T]:
    """All rows of the query, each as a `kind`, in the query's order."""
    result = db.execute(query, parameters or None)
    return _values(result, result.all(), kind)


def begins(column: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    """Whether the text begins so. Not LIKE, which takes capital letters for small ones in one of the two databases."""
    return sa.func.substr(column, 1, len(prefix)) == prefix


def _values(result: sa.CursorResult[Any], found: Sequence[sa.Row[Any]], kind: type[T]) -> list[T]:
    # The driver's column names are a subclass of str, which msgspec does not take for keys.
    names = list(map(str.__str__, result.keys()))
    return [msgspec.convert(dict(zip(names, row, strict=True)), kind, strict=False) for row in found]
