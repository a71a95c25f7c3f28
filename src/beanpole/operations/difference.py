"""How one release differs from another, in lines that anybody may see. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from beanpole.options.changes import diff
from beanpole.options.setting import ENVIRONMENT_PROPERTIES

if TYPE_CHECKING:
    from beanpole.operations.release import Content
    from beanpole.options.registry import Registry
    from beanpole.options.settings import Settings

SET, NONE = "(set)", "(none)"
"""What is shown of a value that may be a secret, and of none."""


class Comparable(Protocol):
    """A release that runs, or one that would be."""

    @property
    def version_label(self) -> str: ...
    @property
    def content(self) -> Content: ...
    @property
    def settings(self) -> Settings: ...


@dataclass(frozen=True)
class Difference:
    """One thing that changes. Values of environment properties are not shown: they may be secrets."""

    what: str
    old: str
    new: str


def differences(registry: Registry, old: Comparable, new: Comparable) -> tuple[Difference, ...]:
    """Version, Python and option settings, in this order."""
    found = []
    if old.version_label != new.version_label:
        found.append(Difference("version", old.version_label, new.version_label))
    if old.content.python != new.content.python:
        found.append(Difference("Python", old.content.python, new.content.python))
    for change in diff(registry, old.settings, new.settings).options:
        secret = change.namespace == ENVIRONMENT_PROPERTIES or "password" in change.name.lower()
        before, after = (SET if value and secret else value or NONE for value in (change.old, change.new))
        found.append(Difference(f"{change.namespace} {change.name}", before, after))
    return tuple(found)
