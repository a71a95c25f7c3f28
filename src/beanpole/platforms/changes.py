"""What changed between the packages of two layers, for people: `tensorflow 2.14.0 → 2.15.0`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

How = Literal["added", "removed", "up", "down", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """`before` is None for what was added, `after` for what was removed.

    `how` is "changed" when nobody can say which of the two versions is the newer one.
    """

    name: str
    before: str | None
    after: str | None

    @property
    def how(self) -> How:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        try:
            before, after = Version(self.before), Version(self.after)
        except InvalidVersion:
            return "changed"
        return "changed" if before == after else "up" if after > before else "down"

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} {self.after} added"
        if self.after is None:
            return f"{self.name} {self.before} removed"
        return f"{self.name} {self.before} → {self.after}"


def changes(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> tuple[Change, ...]:
    """What differs between two lists of (name, version), by name; names in canonical spelling."""
    old, new = dict(before), dict(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return tuple(Change(name, old.get(name), new.get(name)) for name in names)
