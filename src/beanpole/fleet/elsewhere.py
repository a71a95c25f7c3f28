"""Wheels for machines of another kind than this one: downloaded where there are any, built where there are none.

What is source only is built here if nothing native comes of it: then the wheel fits everywhere. Else one machine of
that kind builds it, offline, from the same archive, with build tools that were resolved and fetched for it like the
rest.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from beanpole.fleet.archive import build_requirements, name_of
from beanpole.fleet.packages import LayerError
from beanpole.platforms import lock
from beanpole.platforms.kind import is_wheel
from beanpole.platforms.requirements import Requirements, canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from beanpole.fleet.packages import Packages
    from beanpole.platforms.kind import Kind
    from beanpole.platforms.lock import Entry, Lock

TOOLS = "beanpole-build-tools.txt"
"""Beside the requirement files: what the build of a package needs."""

REMEDY = (
    "Choose a version that has such a wheel; or build the wheel on one of the servers, put it into the bundle, "
    "and name it in requirements.txt as ./FILE.whl."
)


@dataclass(frozen=True)
class Source:
    """A package to be built on a machine of that kind: its archive, and wheels of all that its build needs."""

    name: str
    version: str
    kind: Kind
    archive: Path
    tools: tuple[Path, ...]


class BuildFailed(Exception):
    """`cause` says where and why, `last_lines` what the build wrote last."""

    def __init__(self, cause: str, remedy: str, last_lines: Sequence[str] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.last_lines = tuple(last_lines)


class Builder(Protocol):
    """A machine of the kind that is asked for, on which packages can be built."""

    async def build(self, source: Source, into: Path, say: Callable[[str], None]) -> Path:
        """The wheel, in the empty folder `into`, named as its build named it. Raises BuildFailed.

        The user's package is run, as a user who can do nothing else there. When cancelled, what was started ends.
        """
        ...


class Elsewhere:
    """`interpreter` is of this machine: it builds what is pure Python."""

    def __init__(self, packages: Packages, kind: Kind, interpreter: Path, builder: Builder | None) -> None:
        self._packages = packages
        self._kind = kind
        self._interpreter = interpreter
        self._builder = builder

    async def fetch(
        self, resolved: Lock, entries: Sequence[Entry], folder: Path, room: Path, say: Callable[[str], None]
    ) -> Path:
        """A folder with one wheel for each entry, as `Packages.fetch` gives for this machine. Raises LayerError.

        `folder` holds the requirement files, `room` is for what is made.
        """
        downloaded, wheels = room / "downloaded", room / "wheels"
        _make(downloaded, wheels)
        locked = [entry for entry in entries if entry.hashes]
        if locked:
            await self._packages.download(resolved, locked, self._kind, downloaded, folder, say)
        for path in sorted(downloaded.iterdir()):
            if is_wheel(path.name):
                path.rename(wheels / path.name)
            else:
                built = await self._from_archive(resolved, path, folder, room / f"of-{path.name}", say)
                built.rename(wheels / built.name)
        for number, entry in enumerate(entries):
            if not entry.hashes:
                built = await self._from_project(resolved, entry, folder, room / f"project-{number}", say)
                built.rename(wheels / built.name)
        return wheels

    async def _from_archive(
        self, resolved: Lock, archive: Path, folder: Path, room: Path, say: Callable[[str], None]
    ) -> Path:
        name, version = name_of(archive.name)
        _make(room)
        try:
            wheel = await self._build_here(resolved, str(archive), name, room, folder, say)
        except LayerError as error:
            problem, lines = f"building it here failed: {error.cause}", error.last_lines
        else:
            if self._kind.fits_pure(wheel.name):
                return wheel
            problem, lines = f"what is built here, {wheel.name}, is for this kind of machine alone", ()
        cause = f"{name} {version} has no wheel for {self._kind}"
        if self._builder is None:
            raise LayerError(f"{cause}, and {problem}", REMEDY, f"{name}=={version}", lines)
        say(f"{cause}: building it there")
        tools = await self._tools(resolved, archive, folder, room, say)
        return await self._build_there(self._builder, Source(name, version, self._kind, archive, tools), room, say)

    async def _from_project(
        self, resolved: Lock, entry: Entry, folder: Path, room: Path, say: Callable[[str], None]
    ) -> Path:
        """A folder of the bundle, or an address without hashes."""
        name = entry.name or entry.requirement
        _make(room)
        wheel = await self._build_here(resolved, entry.line, name, room, folder, say)
        if not self._kind.fits_pure(wheel.name):
            cause = f"{name} has native code, and what is built here, {wheel.name}, is for this kind of machine alone"
            raise LayerError(cause, REMEDY, name)
        return wheel

    async def _build_here(
        self, resolved: Lock, what: str, name: str, room: Path, folder: Path, say: Callable[[str], None]
    ) -> Path:
        into = room / "here"
        _make(into)
        return await self._packages.build(resolved, what, name, self._interpreter, into, folder, say)

    async def _tools(
        self, resolved: Lock, archive: Path, folder: Path, room: Path, say: Callable[[str], None]
    ) -> tuple[Path, ...]:
        """Wheels of what the build needs, for the kind. None of these is itself built elsewhere."""
        wanted = await asyncio.to_thread(build_requirements, archive)
        if not wanted:
            return ()
        text = "".join(f"{line}\n" for line in (*resolved.options, *wanted))
        (folder / TOOLS).write_text(text)
        requirements = Requirements((TOOLS,), ((TOOLS, text),), names=frozenset(map(canonical, wanted)), empty=False)
        found = await self._packages.resolve(requirements, self._interpreter, folder, say, self._kind)
        alone = Elsewhere(self._packages, self._kind, self._interpreter, None)
        return tuple(sorted((await alone.fetch(found, found.entries, folder, room, say)).iterdir()))

    async def _build_there(self, builder: Builder, wanted: Source, room: Path, say: Callable[[str], None]) -> Path:
        into = room / "there"
        _make(into)
        requirement = f"{wanted.name}=={wanted.version}"
        cause = f"{wanted.name} {wanted.version} has no wheel for {self._kind}"
        try:
            wheel = await builder.build(wanted, into, say)
        except BuildFailed as error:
            told = f"{cause}, and building it there failed: {error.cause}"
            raise LayerError(told, error.remedy, requirement, error.last_lines) from error
        if not self._kind.fits(wheel.name) or lock.wheel_name(wheel.name)[0] != wanted.name:
            raise LayerError(
                f"{cause}, and what was built there, {wheel.name}, does not fit either", REMEDY, requirement
            )
        return wheel


def _make(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir()
