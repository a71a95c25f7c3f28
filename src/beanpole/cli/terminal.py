"""What a command writes to and reads from: the two streams, whether a person sits there, and whether JSON is wanted.

Results go to standard output, what happens meanwhile too, unless JSON was asked for: then standard output is one JSON
document and the words go to standard error. Colours and questions appear only on terminals.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from beanpole.cli.errors import CommandFailed, Misused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}

COLOUR_OF = {
    "Ok": "green", "Info": "green", "Ready": "green", "succeeded": "green",
    "Updating": "cyan", "Launching": "cyan", "running": "cyan",
    "Warning": "yellow", "WARN": "yellow", "Aborting": "yellow", "Terminating": "yellow", "aborted": "yellow",
    "Degraded": "red", "Severe": "red", "ERROR": "red", "FATAL": "red", "failed": "red",
}  # fmt: skip
"""How words look that have a good and a bad side: the API's for status, health and severity, and ours for outcomes."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Terminal:
    out: TextIO
    err: TextIO
    json: bool = False
    asks: bool = False
    """A person is there to answer."""
    live: bool = False
    """What was written can be drawn over."""
    colours: bool = False

    @classmethod
    def here(cls, *, json: bool = False) -> Terminal:
        drawn = sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        return cls(
            out=sys.stdout,
            err=sys.stderr,
            json=json,
            asks=sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty(),
            live=drawn and not json,
            colours=drawn and "NO_COLOR" not in os.environ,
        )

    @property
    def words(self) -> TextIO:
        return self.err if self.json else self.out

    def say(self, text: str = "") -> None:
        """A line for a person."""
        print(text, file=self.words, flush=True)

    def warn(self, text: str) -> None:
        print(text, file=self.err, flush=True)

    def result(self, value: Any) -> None:
        """The JSON document that a program reads; nothing unless it was asked for."""
        if self.json:
            print(json.dumps(value, indent=2, default=_plain), file=self.out, flush=True)

    def record(self, value: Any) -> None:
        """One line of JSON, for output that has no end."""
        print(json.dumps(value, default=_plain), file=self.out, flush=True)

    def failure(self, failed: CommandFailed) -> None:
        self.warn(f"{self.styled('Error:', 'red')} {printable(failed.cause)}")
        if failed.remedy:
            self.warn(f"{self.styled('Remedy:', 'bold')} {printable(failed.remedy)}")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Ask a yes or no question. Call it only where `asks` holds."""
        answer = self._ask(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
        return default if not answer else answer in ("y", "yes")

    def confirm_by_name(self, question: str, name: str) -> None:
        """Raises Misused unless exactly that name is typed."""
        if self._ask(f"{question} ") != name:
            raise Misused("That is not the name. Nothing was changed.")

    def _ask(self, question: str) -> str:
        print(question, end="", file=self.err, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=self.err)  # the end of the input is an answer too, but it leaves the cursor in the line
        return line.strip()

    def styled(self, text: str, *styles: str) -> str:
        if not self.colours:
            return text
        return f"\x1b[{';'.join(COLOURS[style] for style in styles)}m{text}\x1b[0m"

    def coloured(self, word: str) -> str:
        """A word in the colour of what it means; `word` may be padded."""
        colour = COLOUR_OF.get(word.strip())
        return self.styled(word, colour) if colour else word

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        head, *lines = columns(heads, rows, self.coloured)
        self.say(self.styled(head, "bold"))
        for line in lines:
            self.say(line)


def columns(
    heads: Sequence[str], rows: Iterable[Sequence[str]], paint: Callable[[str], str] = lambda cell: cell
) -> list[str]:
    """Lines with aligned columns, the heads first. `paint` may add what has no width."""
    table = [tuple(heads), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(heads))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table)
    return ["  ".join(paint(cell) for cell in row).rstrip() for row in padded]


def printable(text: str) -> str:
    """In one line and without control characters: what an application printed may not steer this terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.expandtabs(4).splitlines()))


def _plain(value: Any) -> str:
    """What answers of the API have beyond JSON: times (ISO 8601, UTC)."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"not for JSON: {value!r}")
