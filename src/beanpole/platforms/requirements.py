"""All that decides which packages an application gets: its requirement files, what they include, and local projects.

The closure is complete: resolving needs no other file of the bundle. So its digest, with the kind of instance, is the
key under which resolved packages are kept, and the same key never resolves twice.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from beanpole.platforms.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.platforms.bundle import Bundle

FORMAT = 1
"""Part of every key: raise it when a layer of the same requirements would be made differently."""

FILE_LIMIT = 200
"""Requirement files in one closure."""

ADDED = "added-by-beanpole.txt"
"""Name of the file that holds requirements which the platform adds."""

_INCLUDE = re.compile(r"(?:-r\s*|--requirement[=\s]\s*)(.+)")
_CONSTRAINT = re.compile(r"(?:-c\s*|--constraint[=\s]\s*)(.+)")
_EDITABLE = re.compile(r"(?:-e\s*|--editable[=\s]\s*)(.+)")
_EDITABLE_START = re.compile(r"^([ \t]*)(?:-e[ \t]*|--editable[= \t][ \t]*)(\S+)", re.MULTILINE)
_LINKS = re.compile(r"(?:-f\s*|--find-links[=\s]\s*)(.+)")
_INDEX = re.compile(r"(-i\b|--index-url\b|--extra-index-url\b)")
_NAMED = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(@\s*)?(.*)", re.DOTALL)
_HASH = re.compile(r"--hash[=\s]\s*(sha\d{3}:[0-9a-f]+)")
_EXTRAS = re.compile(r"\[[^\]]*\]$")
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_SKIPPED_FOLDERS = frozenset({".git", ".hg", ".elasticbeanstalk", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Requirements:
    """`sources` are the files to resolve from; `texts` has those and all that they include (path, text), none editable.

    `members` are the bundle's files that must lie beside them (path, SHA-256): local projects and archives. `names` are
    the packages asked for by name, in canonical spelling; `hashes` the ones that their author demands (name, hashes).
    Paths are relative to the bundle's root, which is where the resolver has to run.
    """

    sources: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    members: tuple[tuple[str, str], ...] = ()
    names: frozenset[str] = frozenset()
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    empty: bool = True

    def key(self, python: str, platform: str) -> str:
        """Names the packages that these requirements give on Python "3.11" (say) of `platform` (any stable text)."""
        document = [FORMAT, python, platform, self.sources, sorted(self.texts), sorted(self.members)]
        return hashlib.sha256(json.dumps(document, ensure_ascii=True).encode()).hexdigest()

    @property
    def names_indexes(self) -> bool:
        """Whether a requirement file brings an index of its own."""
        return any(_INDEX.match(line) for _, text in self.texts for _, line in logical_lines(text))

    def adding(self, requirement: str) -> Requirements:
        """With one more requirement, of the platform's own."""
        return Requirements(
            (*self.sources, ADDED),
            (*self.texts, (ADDED, f"{requirement}\n")),
            self.members,
            self.names | {canonical(requirement)},
            self.hashes,
            empty=False,
        )


def canonical(name: str) -> str:
    """A package's name as indexes compare it: "Foo_Bar.baz[x]>1" → "foo-bar-baz"."""
    match = _NAMED.match(name.strip())
    return re.sub(r"[-_.]+", "-", match[1] if match else name).lower()


def closure(bundle: Bundle, path: str, text: str | None = None) -> Requirements | Problem:
    """The requirements of one file, with all that it includes. `text` replaces, or stands for, the bundle's file."""
    collector = _Collector(bundle)
    try:
        collector.file(path, text, names=True)
    except _RefusedError as refused:
        return refused.problem
    return Requirements(
        sources=(path,),
        texts=tuple(sorted(collector.texts.items())),
        members=tuple(sorted(collector.members.items())),
        names=frozenset(collector.names),
        hashes=tuple((name, tuple(sorted(hashes))) for name, hashes in sorted(collector.hashes.items())),
        empty=not collector.asked,
    )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a requirement file with their numbers, continued ones joined, without comments and empty ones."""
    pending, start = "", 0
    for number, line in enumerate([*text.replace("\r\n", "\n").split("\n"), ""], 1):
        start = start if pending else number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            pending += line[:-1] + " "
            continue
        logical = re.sub(r"(^|\s)#.*$", "", pending + line).strip()
        pending = ""
        if logical:
            yield start, logical


class _RefusedError(Exception):
    def __init__(self, message: str, remedy: str, file: str, line: int = 0) -> None:
        super().__init__(message)
        self.problem = Problem(message, remedy, file, line)


@dataclass
class _Collector:
    bundle: Bundle
    texts: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    hashes: dict[str, set[str]] = field(default_factory=dict)
    asked: bool = False
    visited: set[tuple[str, bool]] = field(default_factory=set)

    def file(self, path: str, text: str | None, *, names: bool) -> None:
        """`names` is false for constraints: they ask for nothing."""
        if (path, names) in self.visited:
            return
        self.visited.add((path, names))
        if len(self.texts) >= FILE_LIMIT:
            raise _RefusedError(f"More than {FILE_LIMIT} requirement files.", "Include fewer files.", path)
        if text is None:
            text = self.bundle.text(path)
        if text is None:
            raise _RefusedError(f"{path} is not a text file in UTF-8.", "Save it as UTF-8.", path)
        # Installed packages are shared and never edited; an editable build would point into a folder that goes away.
        self.texts[path] = _EDITABLE_START.sub(lambda match: f"{match[1]}{_as_path(match[2])}", text)
        for number, line in logical_lines(text):
            self._line(path, number, line, names=names)

    def _line(self, path: str, number: int, line: str, *, names: bool) -> None:
        folder = posixpath.dirname(path)
        if match := _INCLUDE.fullmatch(line):
            self.file(self._included(match[1], folder, path, number), None, names=names)
        elif match := _CONSTRAINT.fullmatch(line):
            self.file(self._included(match[1], folder, path, number), None, names=False)
        elif match := _LINKS.fullmatch(line):
            self._links(_unquoted(match[1]), folder, path, number)
        elif match := _EDITABLE.fullmatch(line):
            self.asked = self.asked or names
            if "://" not in match[1]:
                self._local(match[1], path, number)
        elif not line.startswith("-"):
            self.asked = self.asked or names
            self._requirement(line, path, number, names=names)

    def _included(self, reference: str, folder: str, path: str, number: int) -> str:
        reference = _unquoted(reference)
        if "://" in reference:
            message = f"{path}, line {number}: {reference} is not in the bundle."
            raise _RefusedError(message, "Put the file into the bundle and include it by its path.", path, number)
        included = self._inside(posixpath.join(folder, reference), reference, path, number)
        if included not in self.bundle.files:
            message = f"{path}, line {number}: the bundle has no file {included}."
            raise _RefusedError(message, "Add the file to the bundle, or remove the line.", path, number)
        return included

    def _links(self, reference: str, folder: str, path: str, number: int) -> None:
        """A folder of archives: beside the file that names it or, as with pip, below the root."""
        if "://" in reference:
            return
        beside = posixpath.normpath(posixpath.join(folder, reference))
        place = beside if self.bundle.below(beside) else self._inside(reference, reference, path, number)
        self._keep(self.bundle.below(self._inside(place, reference, path, number)))

    def _requirement(self, line: str, path: str, number: int, *, names: bool) -> None:
        target = line.split(" ;")[0].split(" --")[0].strip()
        match = _NAMED.fullmatch(target)
        if match and match[2]:
            if "://" not in match[3]:
                self._local(match[3], path, number)
            elif match[3].startswith("file:"):
                raise self._outside(match[3], path, number)
        elif _is_path(target, self.bundle):
            self._local(target, path, number)
            return
        elif "://" in target:
            return
        if match and names:
            name = canonical(match[1])
            self.names.add(name)
            if hashes := _HASH.findall(line):
                self.hashes.setdefault(name, set()).update(hashes)

    def _local(self, reference: str, path: str, number: int) -> None:
        """A project folder or an archive of the bundle, relative to the bundle's root as pip takes it."""
        wanted = _EXTRAS.sub("", _unquoted(reference.split(" ;")[0]).strip())
        place = self._inside(wanted, wanted, path, number)
        if place in self.bundle.files:
            self._keep([place])
            return
        inside = self.bundle.below(place)
        prefix = "" if place == "." else f"{place}/"
        if not any(f"{prefix}{name}" in self.bundle.files for name in ("pyproject.toml", "setup.py")):
            message = f"{path}, line {number}: {wanted} is no Python project: no pyproject.toml and no setup.py in it."
            raise _RefusedError(message, "Correct the path, or add the project to the bundle.", path, number)
        self._keep([name for name in inside if _SKIPPED_FOLDERS.isdisjoint(name.split("/"))])

    def _inside(self, reference: str, shown: str, path: str, number: int) -> str:
        place = posixpath.normpath(reference)
        if place.startswith(("/", "../", "~")) or place == ".." or reference.startswith("file:"):
            raise self._outside(shown, path, number)
        return place

    def _outside(self, shown: str, path: str, number: int) -> _RefusedError:
        return _RefusedError(
            f"{path}, line {number}: {shown} lies outside the bundle.",
            "Put it into the bundle and use a relative path, or install it from an index or a git address.",
            path,
            number,
        )

    def _keep(self, paths: list[str]) -> None:
        self.members.update((path, self.bundle.files[path]) for path in paths)


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _as_path(reference: str) -> str:
    """An editable reference as an ordinary requirement: a bare folder name would be taken for a package's."""
    return reference if "://" in reference or reference.startswith((".", "/", "~", "'", '"')) else f"./{reference}"


def _is_path(target: str, bundle: Bundle) -> bool:
    if "://" in target:
        return target.startswith("file:")
    path = _EXTRAS.sub("", target)
    return (
        path.startswith((".", "/", "~"))
        or path.endswith(_ARCHIVES)
        or ("/" in path and " " not in path)
        or (posixpath.normpath(path) in bundle.files)
    )
