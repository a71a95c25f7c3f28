"""One page of a bucket's list. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """`last` is the last key or common prefix on a page that is not the last one: where the next one goes on."""

    objects: list[R] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str | None = None

    @property
    def count(self) -> int:
        return len(self.objects) + len(self.prefixes)


def page(rows: Iterable[R], prefix: str, delimiter: str, after: str, limit: int) -> Page[R]:
    """The first `limit` entries after `after`, of rows in the order of their keys, from the first that has `prefix` on.

    Keys that have the delimiter behind the prefix appear once, as what they have in common up to it.
    """
    found: Page[R] = Page()
    last = ""
    for row in rows:
        if not row.key.startswith(prefix):
            break
        end = row.key.find(delimiter, len(prefix)) if delimiter else -1
        common = row.key[: end + len(delimiter)] if end >= 0 else None
        if common is not None and (common == last or common <= after):
            continue
        if found.count >= limit:
            return Page(found.objects, found.prefixes, last) if limit else found
        if common is None:
            found.objects.append(row)
        else:
            found.prefixes.append(common)
        last = common or row.key
    return found
