"""What a command writes to and reads from: the two streams, whether a person sits there, and whether JSON is wanted.

Results go to standard output, what happens meanwhile too, unless JSON was asked for: then standard output is one JSON
document and the words go to standard error. Colours and questions appear only on terminals, each stream by itself.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from beanpole.cli.errors import CommandFailed, Misused, OutputClosed

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
    """Where the words go."""
    colours_errors: bool = False
    """On standard error."""

    @classmethod
    def here(cls, *, json: bool = False) -> Terminal:
        return cls(
            out=sys.stdout,
            err=sys.stderr,
            json=json,
            asks=sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty(),
            live=_moves(sys.stdout) and not json,
            colours=_paints(sys.stderr if json else sys.stdout),
            colours_errors=_paints(sys.stderr),
        )

    @property
    def words(self) -> TextIO:
        return self.err if self.json else self.out

    def say(self, text: str = "") -> None:
        """A line for a person."""
        _write(self.words, f"{text}\n")

    def warn(self, text: str) -> None:
        _write(self.err, f"{text}\n")

    def result(self, value: Any) -> None:
        """The JSON document that a program reads; nothing unless it was asked for."""
        if self.json:
            _write(self.out, f"{json.dumps(value, indent=2, default=_plain)}\n")

    def record(self, value: Any) -> None:
        """One line of JSON, for output that has no end."""
        _write(self.out, f"{json.dumps(value, default=_plain)}\n")

    def failure(self, failed: CommandFailed) -> None:
        self.warn(f"{_painted('Error:', 'red') if self.colours_errors else 'Error:'} {printable(failed.cause)}")
        if failed.remedy:
            remedy = _painted("Remedy:", "bold") if self.colours_errors else "Remedy:"
            self.warn(f"{remedy} {printable(failed.remedy)}")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Ask a yes or no question; the end of the input is a no. Call it only where `asks` holds."""
        answer = self._ask(f"{question} [{'Y/n' if default else 'y/N'}] ")
        return default if answer == "" else answer is not None and answer.lower() in ("y", "yes")

    def confirm_by_name(self, question: str, name: str) -> None:
        """Raises Misused unless exactly that name is typed."""
        if self._ask(f"{question} ") != name:
            raise Misused("That is not the name. Nothing was changed.")

    def _ask(self, question: str) -> str | None:
        """None when the input has ended."""
        _write(self.err, question)
        line = sys.stdin.readline()
        if not line:
            _write(self.err, "\n")  # whoever typed Ctrl-D left the cursor in the line
            return None
        return line.strip()

    def styled(self, text: str, *styles: str) -> str:
        """For what is said, not for warnings and errors."""
        return _painted(text, *styles) if self.colours else text

    def coloured(self, word: str) -> str:
        """A word in the colour of what it means; `word` may be padded."""
        colour = COLOUR_OF.get(word.strip())
        return self.styled(word, colour) if colour else word

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        head, *lines = columns(heads, rows, self.coloured)
        self.say(self.styled(head, "bold"))
        for line in lines:
            self.say(line)


def _painted(text: str, *styles: str) -> str:
    return f"\x1b[{';'.join(COLOURS[style] for style in styles)}m{text}\x1b[0m"


def _moves(stream: TextIO) -> bool:
    """Whether the stream is a terminal that understands where to write."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _paints(stream: TextIO) -> bool:
    return _moves(stream) and not os.environ.get("NO_COLOR")


def _write(stream: TextIO, text: str) -> None:
    """Raises OutputClosed when nobody reads the stream any more."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError as closed:
        raise OutputClosed(stream) from closed


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
