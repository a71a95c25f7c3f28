"""What a new environment or saved configuration begins with: another one of either, or a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beanpole.options.setting import Setting


@dataclass(frozen=True)
class Base:
    """None: it says nothing of that. What the call itself says is in force before it."""

    settings: list[Setting] = field(default_factory=list)
    platform: str | None = None
    """Branch name."""
    tier: str | None = None
    version_label: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
