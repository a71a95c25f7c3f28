"""Files that are not to be bundled, by the rules of .gitignore. Used where git itself is not asked.

The last rule that matches decides; a rule with `!` takes a file back in, unless a folder above it is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    pattern: re.Pattern[str]
    """Matches the path below the folder of the rule's file."""
    negated: bool
    folders_only: bool


@dataclass(frozen=True)
class Rules:
    """The rules of one file. `base` is the file's folder, '' or ending in a slash."""

    base: str
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, text: str, base: str = "") -> Rules:
        return cls(base, tuple(rule for line in text.splitlines() if (rule := _rule(line)) is not None))

    def decide(self, path: str, *, folder: bool) -> bool | None:
        """True: left out; False: taken back in; None: no rule says anything. `path` is relative to the root."""
        below = path.removeprefix(self.base)
        for rule in reversed(self.rules):
            if (folder or not rule.folders_only) and rule.pattern.fullmatch(below):
                return not rule.negated
        return None


def ignored(files: tuple[Rules, ...], path: str, *, folder: bool) -> bool:
    """By the rules of all files above the path, outermost first: the innermost that says anything decides."""
    for rules in reversed(files):
        decision = rules.decide(path, folder=folder)
        if decision is not None:
            return decision
    return False


def _rule(line: str) -> Rule | None:
    line = _without_trailing_spaces(line)
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line[1:] if negated else line
    folders_only = line.endswith("/")
    line = line.rstrip("/") if folders_only else line
    if not line:
        return None
    anchored = "/" in line
    expression = _expression(line.removeprefix("/"))
    if expression is None:
        return None
    pattern = re.compile(expression if anchored else f"(?:.*/)?{expression}", re.DOTALL)
    return Rule(pattern, negated, folders_only)


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    escaped = (len(stripped) - len(stripped.rstrip("\\"))) % 2 == 1
    return stripped + " " if escaped and stripped != line else stripped


def _expression(pattern: str) -> str | None:
    """The pattern as a regular expression; None for one that cannot match, such as a bracket that is not closed."""
    found, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/") and (at == 0 or pattern[at - 1] == "/"):
            found, at = f"{found}(?:.*/)?", at + 3
        elif rest == "**" and at > 0 and pattern[at - 1] == "/":
            found, at = f"{found}.+", at + 2
        elif rest[0] == "*":
            found, at = f"{found}[^/]*", at + len(rest) - len(rest.lstrip("*"))
        elif rest[0] == "?":
            found, at = f"{found}[^/]", at + 1
        elif rest[0] == "[":
            bracket = _bracket(rest)
            if bracket is None:
                return None
            found, at = found + bracket[0], at + bracket[1]
        elif rest[0] == "\\":
            if len(rest) == 1:
                return None
            found, at = found + re.escape(rest[1]), at + 2
        else:
            found, at = found + re.escape(rest[0]), at + 1
    return found


def _bracket(rest: str) -> tuple[str, int] | None:
    """A set of characters as a regular expression, and its length in the pattern."""
    end = 2 if rest[1:2] in ("!", "^") else 1
    start = end
    while end < len(rest) and (rest[end] != "]" or end == start):
        end += 2 if rest[end] == "\\" else 1
    if end >= len(rest):
        return None
    content = re.sub(r"([\[&~|^])", r"\\\1", rest[start:end])
    content = "\\]" + content[1:] if content.startswith("]") else content
    return f"(?!/)[{'^' if start == 2 else ''}{content}]", end + 1
