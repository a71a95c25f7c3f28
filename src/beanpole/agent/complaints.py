"""Errors in what a process wrote: tracebacks, and lines of level ERROR or worse. Pure; plain text in, findings out.

Knows what gunicorn, uvicorn, Django and Python's logging write, and JSON lines with a level. A traceback and the line
that announces it are one error, and so is a chain of exceptions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Sequence, Tuple

LINES_KEPT = 20  # of the last error, from its begin
LEVEL_WITHIN = 120  # characters of a line in which its level stands; what comes later is the message

_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\s*$")
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_INSIDE = re.compile(r"\s|[|+]|$")  # how lines of a traceback begin, other than the one that names the exception
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::\s.*)?$")
_LEVEL = re.compile(
    r"(?:^|[\s\[(|<=])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)(?=$|[\s\])|>:,])",
)
_JSON_LEVEL = re.compile(r'"(?:level|levelname|severity|log\.level)"\s*:\s*"(?:error|critical|fatal)"', re.IGNORECASE)
_SEVERE = ("ERROR", "CRITICAL", "FATAL")
_DJANGO = "Internal Server Error: "  # of django.request, whose format may leave the level out


@dataclass(frozen=True)
class Complaints:
    """How many errors, what the last one says in one line, and its lines."""

    count: int
    last: str = ""
    lines: Tuple[str, ...] = ()


def complaints(lines: Sequence[str]) -> Complaints:
    """The errors in these lines, oldest first."""
    return _Reading().of(lines)


class _Reading:
    """One pass. `announced`: the line before said that there is an error, so a traceback now is the same one."""

    def __init__(self) -> None:
        self._count = 0
        self._last = ""
        self._lines: List[str] = []
        self._inside = False
        self._announced = False

    def of(self, lines: Sequence[str]) -> Complaints:
        for line in lines:
            self._take(line.rstrip())
        return Complaints(self._count, self._last.strip(), tuple(self._lines[:LINES_KEPT]))

    def _take(self, line: str) -> None:
        if _TRACEBACK.search(line):
            if not self._inside and not self._announced:
                self._begin()
            self._inside, self._announced = True, False
            # Until its end is seen, and where the log was cut that is never.
            self._last = self._last or line
            self._lines.append(line)
        elif self._inside and _INSIDE.match(line):
            self._lines.append(line)
        elif line in _CHAINED:
            self._announced = True
            self._lines.append(line)
        elif _is_severe(line):
            self._begin()
            self._inside, self._announced, self._last = False, True, line
            self._lines.append(line)
        elif self._inside and _EXCEPTION.match(line):
            self._inside, self._announced, self._last = False, False, line
            self._lines.append(line)
        elif line:
            self._inside = self._announced = False
        # An empty line stands between the exceptions of a chain: it ends nothing.

    def _begin(self) -> None:
        self._count += 1
        self._last, self._lines = "", []


def _is_severe(line: str) -> bool:
    if line.startswith(_DJANGO) or _JSON_LEVEL.search(line):
        return True
    level = _LEVEL.search(line[:LEVEL_WITHIN])
    return level is not None and level[1] in _SEVERE
