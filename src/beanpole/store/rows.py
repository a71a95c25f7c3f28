"""Rows of a query as values: one struct type a noun, its fields named as the columns are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

T = TypeVar("T")


def first(db: sa.Connection, query: sa.Executable, kind: type[T]) -> T | None:
    """The first row of the query as a `kind`, or None."""
    row = db.execute(query).mappings().first()
    return None if row is None else _value(row, kind)


def every(db: sa.Connection, query: sa.Executable, kind: type[T]) -> list[T]:
    """All rows of the query, each as a `kind`, in the query's order."""
    return [_value(row, kind) for row in db.execute(query).mappings()]


def _value(row: Mapping[Any, Any], kind: type[T]) -> T:
    # The driver's column names are a subclass of str, which msgspec does not take for keys.
    return msgspec.convert({str.__str__(name): value for name, value in row.items()}, kind, strict=False)
