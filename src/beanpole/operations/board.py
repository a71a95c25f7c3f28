"""What is going on right now, for whoever looks: kept in memory, rebuilt from plan and journal after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["waiting", "running", "done", "failed"]


class Progress(msgspec.Struct, frozen=True):
    """Of one slot in one step. `done` of `total` where the work can be counted, else both 0."""

    state: State
    words: str = ""
    done: int = 0
    total: int = 0


class Board:
    """Progress by operation, then by step key and slot."""

    def __init__(self) -> None:
        self._operations: dict[int, dict[tuple[str, str], Progress]] = {}

    def put(self, operation: int, step: str, slot: str, progress: Progress) -> None:
        self._operations.setdefault(operation, {})[step, slot] = progress

    def of(self, operation: int) -> Mapping[tuple[str, str], Progress]:
        return dict(self._operations.get(operation, {}))

    def forget(self, operation: int) -> None:
        self._operations.pop(operation, None)
