"""How a job fails: in which stage, by which command, what it said last, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

LAST_LINES = 40  # of a command's output that travel with an error
LINE_LIMIT = 500  # characters of one such line


@dataclass
class JobFailure(Exception):
    """Ends a job as failed. `message` says cause and place in one sentence, `remedy` what a user can do."""

    stage: str
    message: str
    remedy: str = ""
    command: Optional[str] = None
    exit_status: Optional[int] = None
    last_lines: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{self.stage}: {self.message}"

    def record(self) -> Dict[str, Any]:
        return {
            "stage": self.stage,
            "command": self.command,
            "exit_status": self.exit_status,
            "last_lines": list(self.last_lines),
            "message": self.message,
            "remedy": self.remedy,
        }


def last_lines(data: bytes, count: int = LAST_LINES) -> Tuple[str, ...]:
    """The last lines of some output, readable: undecodable bytes replaced, very long lines cut, no empty ends."""
    lines = [line.rstrip()[:LINE_LIMIT] for line in data.decode("utf-8", "replace").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines[-count:])
