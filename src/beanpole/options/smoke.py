"""Smoke tests: the critical endpoints of an application, as the option SmokeTests of beanpole:deployment names them.

One test a line, or after a comma: `[METHOD] PATH [STATUS] [contains "TEXT"] [within SECONDSs]`, for example
`/version 200 contains "v2"`, `GET /predict 405`, `/report 200-299 within 20s`. Without a method it is GET, without a
status 200. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beanpole.options.settings import Settings

NAMESPACE, OPTION = "beanpole:deployment", "SmokeTests"

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
"""What may be asked; a POST has an empty body. Others change things, which no test of a deployment should."""

MOST = 20
"""Tests of one release: each of them lengthens every batch."""

SECONDS, LONGEST = 5.0, 60.0
"""Seconds that an answer may take, body included: without `within`, and with the largest one."""

_METHOD = "|".join(METHODS)
_TEST = re.compile(
    r"(?:(?P<method>[A-Za-z]+)\s+)?(?P<path>/\S*)(?:\s+(?P<low>\d+)(?:-(?P<high>\d+))?)?"
    r'(?:\s+contains\s+"(?P<text>[^"]*)")?(?:\s+within\s+(?P<seconds>\d+(?:\.\d+)?)\s*s)?'
)
_PATH = re.compile(r"/[\x21-\x7e]*")
_SEPARATOR = re.compile(rf',\s*(?=(?:(?:{_METHOD})\s+)?/|$)(?=(?:[^"]*"[^"]*")*[^"]*$)')
"""A comma before the next test and outside of quotes: those within paths and texts stay."""


class BadSmokeTests(ValueError):
    """Names every line that cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """The status of the answer must be within `low` and `high` (both count), its body hold `text`."""

    method: str
    path: str
    low: int = 200
    high: int = 200
    text: str = ""
    seconds: float = SECONDS

    @property
    def words(self) -> str:
        """As it could have been written."""
        status = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        text = f' contains "{self.text}"' if self.text else ""
        limit = f" within {self.seconds:g}s" if self.seconds != SECONDS else ""
        return f"{self.method} {self.path} {status}{text}{limit}"

    def arguments(self) -> dict[str, Any]:
        """As the agent's job `smoke` takes it."""
        return {
            "method": self.method,
            "path": self.path,
            "low": self.low,
            "high": self.high,
            "text": self.text,
            "seconds": self.seconds,
        }


def parse(value: str) -> tuple[SmokeTest, ...]:
    """The tests of an option's value, in order; empty lines and lines with # say nothing. Raises BadSmokeTests."""
    tests, problems = [], []
    for number, line in enumerate(value.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for part in filter(None, (each.strip() for each in _SEPARATOR.split(line))):
            test = _read(part)
            if isinstance(test, SmokeTest):
                tests.append(test)
            else:
                problems.append(f"line {number}, {part!r}: {test}")
    if len(tests) > MOST:
        problems.append(f"there are {len(tests)} tests and {MOST} are the most")
    if problems:
        raise BadSmokeTests("; ".join(problems))
    return tuple(tests)


def tests_of(settings: Settings) -> tuple[SmokeTest, ...]:
    """Those in force. Settings were validated before they came into force, so BadSmokeTests is a fault of ours."""
    return parse(settings.text(NAMESPACE, OPTION))


def _read(part: str) -> SmokeTest | str:
    """The test, or what is wrong with it."""
    match = _TEST.fullmatch(part)
    if match is None:
        return 'a test is written as: GET /path 200 contains "text" within 5s; only the path is required'
    method = match["method"] or "GET"
    if method not in METHODS:
        return f"{method} is none of {', '.join(METHODS)}"
    if not _PATH.fullmatch(match["path"]):
        return "a path has ASCII characters without spaces; others are written as %20"
    low, high = int(match["low"] or 200), int(match["high"] or match["low"] or 200)
    if not 100 <= low <= high <= 599:
        return "a status is between 100 and 599, a range from its lower end to its higher one"
    text, seconds = match["text"], float(match["seconds"] or SECONDS)
    if text is not None and (not text or not text.isprintable()):
        return "the text after contains is empty or not printable"
    if text and method == "HEAD":
        return "the answer to HEAD has no body that could contain anything"
    if not 0 < seconds <= LONGEST:
        return f"an answer may take up to {LONGEST:g} s"
    return SmokeTest(method, match["path"], low, high, text or "", seconds)
