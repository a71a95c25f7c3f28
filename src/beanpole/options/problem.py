"""What is wrong with a setting or a configuration file, in words for the one who wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """An "error" must stop the operation before anything changed; a "warning" must be shown and stops nothing.

    `file` and `line` (from 1; 0: unknown) are set for problems of configuration files, namespace and name for settings.
    """

    severity: Literal["error", "warning"]
    message: str
    namespace: str = ""
    name: str = ""
    file: str = ""
    line: int = 0
