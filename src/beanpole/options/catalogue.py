"""Reads the registry from the two files of this package. Nothing is cached: whoever calls `load` keeps the result."""

from __future__ import annotations

from importlib import resources

import msgspec

from beanpole.options.option import NotBuilt, Option
from beanpole.options.registry import Registry


class _Default(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: str
    name: str
    default: str
    reason: str


class _Ours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    options: tuple[Option, ...]
    defaults: tuple[_Default, ...]
    not_built: tuple[NotBuilt, ...]


def load() -> Registry:
    """The options of Elastic Beanstalk with our own, and our own defaults where they differ (each with its reason)."""
    folder = resources.files("beanpole.options")
    theirs = msgspec.json.decode((folder / "registry.json").read_bytes(), type=tuple[Option, ...])
    ours = msgspec.json.decode((folder / "beanpole.json").read_bytes(), type=_Ours)
    changed = {(change.namespace, change.name): change.default for change in ours.defaults}
    options = [
        msgspec.structs.replace(option, default=changed.get((option.namespace, option.name), option.default))
        for option in theirs
    ]
    return Registry([*options, *ours.options], ours.not_built)
