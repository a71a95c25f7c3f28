"""Which instance a slot of a plan stands for, as the journal says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def instance_of(journal: Mapping[str, Any], slot: str) -> str:
    """The slot itself when it names an instance; '' before its Launch step has bound it."""
    if not slot.startswith("new-"):
        return slot
    for key, result in journal.items():
        if key.endswith((f"/{slot}", f"/{slot}/bind")) and "instance" in result:
            return str(result["instance"])
    return ""
