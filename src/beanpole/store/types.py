"""Makes msgspec look at every type before threads use it.

msgspec looks at the fields of a type when it meets it for the first time. Two threads that do so at the same time crash
the process (seen with msgspec 0.22 and CPython 3.11: a segmentation fault just after the start). So this happens once,
before the first thread is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec


def resolve(dataclasses: Iterable[type]) -> None:
    """Look at all structs that have been imported, and at these dataclasses, which nothing lists."""
    for kind in [*_structs(msgspec.Struct), *dataclasses]:
        with suppress(NameError):  # its names are for the type checker alone: it is never decoded
            _look(kind)


def _look(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _structs(base: type[Any]) -> list[type[Any]]:
    found: list[type[Any]] = []
    for kind in base.__subclasses__():
        found += [kind, *_structs(kind)]
    return found
