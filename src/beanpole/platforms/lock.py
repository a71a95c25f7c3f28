"""A resolved list of packages: what uv wrote, entry by entry, and the list that instances install from.

The first has the hashes of every file that an index offers for a version. The second has exactly one for each package:
the wheel that was fetched, or built from source, for one kind of instance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.platforms.requirements import canonical, logical_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HASH = re.compile(r"\s--hash=(\S+)")
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(==|@)")
_WHEEL = re.compile(r"([^-]+)-([^-]+)(?:-(\d[^-]*))?-([^-]+)-([^-]+)-([^-]+)\.whl")


@dataclass(frozen=True, slots=True)
class Entry:
    """`requirement` as resolved ("flask==3.1.3", an address, a path); `name` is "" where the text has none.

    Without hashes (a git address, a folder) the content is pinned by a commit or by the bundle, not by this entry.
    """

    requirement: str
    name: str
    hashes: tuple[str, ...]

    @property
    def is_local(self) -> bool:
        """A folder or archive of the bundle: the same words may mean another content next time."""
        return not self.name or " @ file:" in self.requirement

    @property
    def line(self) -> str:
        return " ".join([self.requirement, *(f"--hash={value}" for value in self.hashes)])


@dataclass(frozen=True, slots=True)
class Lock:
    """`options` are index lines ("--index-url …"). They may hold passwords: for pip's eyes only, never stored."""

    options: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel as installed: file name, the package's canonical name, its version, SHA-256 and bytes."""

    file: str
    name: str
    version: str
    sha256: str
    size: int


def parse(text: str, demanded: Mapping[str, tuple[str, ...]]) -> Lock:
    """What `uv pip compile --generate-hashes` wrote.

    Hashes that the requirements' author gave (`demanded`, by name) replace the index's: uv does not hold the index
    against them, so the fetching has to.
    """
    options, entries = [], []
    for _, line in logical_lines(text):
        if line.startswith("--"):
            options.append(line)
            continue
        hashes = tuple(sorted(_HASH.findall(line)))
        requirement = _HASH.sub("", line).strip().removeprefix("-e ").strip()
        match = _NAME.match(requirement)
        name = canonical(match[1]) if match else ""
        entries.append(Entry(requirement, name, demanded.get(name) or hashes))
    return Lock(tuple(options), tuple(entries))


def wheel_name(file: str) -> tuple[str, str]:
    """(canonical name, version) in the file name of a wheel. ValueError for another file."""
    match = _WHEEL.fullmatch(file)
    if match is None:
        raise ValueError(f"not the name of a wheel: {file!r}")
    return canonical(match[1]), match[2].replace("_", "-")


def install_text(wheels: Iterable[Wheel]) -> str:
    """The lock that an instance installs from, offline: one line for each wheel, sorted, with its one hash."""
    lines = (f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}" for wheel in wheels)
    return "".join(f"{line}\n" for line in sorted(lines))
