"""Platforms by all their names: branch, ARN, solution stack, and the short forms that clients accept.

The names are those of Elastic Beanstalk's Python platforms on Amazon Linux 2023, because clients parse them and because
they state whose contract of paths, hooks and variables we keep. They do not say what the servers run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION = "4.1.0"
"""Of the contract that we keep. Above 2.0.10, so that the EB CLI turns enhanced health and its deployments table on."""

FIRST = "4.1.0"
"""What environments are of that have no version written down."""

SYSTEM = "64bit Amazon Linux 2023"
FAMILY = "Python"

_ARN = re.compile(r"arn:[^:]+:elasticbeanstalk:([^:]*):(\d*):platform/([^/]+)/(\d+\.\d+\.\d+)")
_STACK = re.compile(rf"{SYSTEM} v\d+\.\d+\.\d+ running (.+)")
_PYTHON = re.compile(r"\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Platform:
    """One Python version, as "3.11". The branch is the name that the store keeps."""

    python: str
    version: str = VERSION
    family: str = FAMILY

    @property
    def shorthand(self) -> str:
        return f"{self.family} {self.python}"

    @property
    def branch(self) -> str:
        return f"{self.shorthand} running on {SYSTEM}"

    @property
    def solution_stack(self) -> str:
        return f"{SYSTEM} v{self.version} running {self.shorthand}"

    def arn(self, region: str) -> str:
        return f"arn:aws:elasticbeanstalk:{region}::platform/{self.branch}/{self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """Higher is newer."""
        return tuple(int(part) for part in self.python.split("."))

    @property
    def names(self) -> tuple[str, ...]:
        """Full and short names of exactly this platform: "python-3.11" is one, in any case."""
        return (self.branch, self.solution_stack, self.shorthand, self.shorthand.replace(" ", "-"))


class Platforms:
    """What this Beanpole offers: one platform for each Python version that instances have, newest first."""

    def __init__(self, pythons: Iterable[str]) -> None:
        """`pythons` are versions as "3.11" or "3.11.7". ValueError for anything else."""
        self.version = VERSION
        platforms = {Platform(_minor(version), VERSION) for version in pythons}
        self._platforms = tuple(sorted(platforms, key=lambda platform: platform.order, reverse=True))
        self._named = {name.lower(): platform for platform in self._platforms for name in platform.names}

    def __iter__(self) -> Iterator[Platform]:
        return iter(self._platforms)

    def __len__(self) -> int:
        return len(self._platforms)

    def named(self, name: str) -> Platform | None:
        """By branch, solution stack or short name; the family alone ("Python") means the newest."""
        if name.strip().lower() == FAMILY.lower():
            return next(iter(self._platforms), None)
        return self._named.get(name.strip().lower())

    def by_arn(self, arn: str, region: str) -> Platform | None:
        """By ARN. Another region, a custom platform (with an account) or another version is not ours: None."""
        match = _ARN.fullmatch(arn)
        if match is None or match[1] != region or match[2]:
            return None
        platform = next((platform for platform in self._platforms if platform.branch == match[3]), None)
        return platform if platform and platform.version == match[4] else None

    def former(self, arn: str, region: str) -> Platform | None:
        """By the ARN of an older version, which environments may still be of, and which no other one can get."""
        match = _ARN.fullmatch(arn)
        if match is None or match[1] != region or match[2] or _numbers(match[4]) >= _numbers(self.version):
            return None
        platform = self.named(match[3])
        return replace(platform, version=match[4]) if platform is not None else None

    def of_file(self, name: str) -> Platform | None:
        """By any name, also by an ARN or a solution stack of another region or version: files outlive both."""
        arn, stack = _ARN.fullmatch(name), _STACK.fullmatch(name)
        if arn is not None:
            return self.named(arn[3]) if not arn[2] else None
        return self.named(name) or (self.named(stack[1]) if stack is not None else None)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _minor(version: str) -> str:
    match = _PYTHON.match(version)
    if match is None:
        raise ValueError(f"not a Python version: {version!r}")
    return match[0]
