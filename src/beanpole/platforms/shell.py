"""Splits a shell line into simple commands and words, so that it can be read, and edited in place, without running it.

Only as much shell as command lines of processes use. What is beyond it gives None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

_BLANK = " \t\r"
_OPERATORS = "\n;&|()"


@dataclass(frozen=True, slots=True)
class Word:
    """`line[start:end]` is the word as written; `text` is without quotes, with `$NAME` left as it is.

    `expands` says that the shell would replace a part of it.
    """

    text: str
    start: int
    end: int
    expands: bool

    def part(self, line: str, text: str) -> tuple[int, int] | None:
        """Where `text` stands at the end of this word in `line`, before closing quotes; None: spelled otherwise."""
        written = line[self.start : self.end].rstrip("\"'")
        if not text or not written.endswith(text):
            return None
        return self.start + len(written) - len(text), self.start + len(written)


def commands(line: str) -> list[list[Word]] | None:
    """The simple commands of a line, each as its words; None for unbalanced quotes or brackets."""
    reader = _Reader(line)
    try:
        reader.read()
    except _OpenError:
        return None
    return [words for words in reader.commands if words]


class _OpenError(Exception):
    """The line ends inside a quote, a bracket or behind a backslash."""


class _Reader:
    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0
        self.commands: list[list[Word]] = [[]]

    def read(self) -> None:
        while self.at < len(self.line):
            char = self._char()
            if char in _BLANK:
                self.at += 1
            elif char == "#":
                self._skip_comment()
            elif char in _OPERATORS and not self._redirects():
                self.at += 1
                self.commands.append([])
            else:
                self.commands[-1].append(self._word())

    def _char(self) -> str:
        if self.at >= len(self.line):
            raise _OpenError
        return self.line[self.at]

    def _next(self) -> str:
        char = self._char()
        self.at += 1
        return char

    def _until(self, closing: str) -> str:
        end = self.line.find(closing, self.at)
        if end < 0:
            raise _OpenError
        text, self.at = self.line[self.at : end], end + 1
        return text

    def _skip_comment(self) -> None:
        end = self.line.find("\n", self.at)
        self.at = len(self.line) if end < 0 else end

    def _redirects(self) -> bool:
        """Whether the & here belongs to a redirection such as 2>&1 or &>file."""
        before, after = self.line[self.at - 1 : self.at], self.line[self.at + 1 : self.at + 2]
        return self.line[self.at] == "&" and (before in (">", "<") or after == ">")

    def _word(self) -> Word:
        start, text, expands = self.at, "", False
        while self.at < len(self.line):
            char = self._char()
            if char in _BLANK or (char in _OPERATORS and not self._redirects()):
                break
            if char == "'":
                self.at += 1
                text += self._until("'")
            elif char == '"':
                self.at += 1
                while self._char() != '"':
                    expands |= self._char() in "$`"
                    text += self._piece()
                self.at += 1
            else:
                expands |= char in "$`"
                text += self._piece()
        return Word(text, start, self.at, expands)

    def _piece(self) -> str:
        """One character, the one behind a backslash, or an expansion as written: `$NAME`, `${…}`, `$(…)`, `` `…` ``."""
        start, char = self.at, self._next()
        if char == "\\":
            return self._next()
        if char == "`":
            self._until("`")
        elif char == "$" and self.line[self.at : self.at + 1] in ("(", "{"):
            opening = self._next()
            closing, depth = (")" if opening == "(" else "}"), 1
            while depth:
                char = self._next()
                depth += (char == opening) - (char == closing)
        return self.line[start : self.at]
