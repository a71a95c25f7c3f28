"""Why a bundle cannot be run as it is, in words for the one who made it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`message` says what and where (`line` counts from 1; 0: unknown), `remedy` what to do about it."""

    message: str
    remedy: str
    file: str = ""
    line: int = 0
