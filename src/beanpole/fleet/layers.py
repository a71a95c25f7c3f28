"""Dependency layers, as far as the control plane makes them: resolved once, locked by hash, fetched once.

A layer is a lock with one hash for each package and a folder of wheels, from which instances install without network
(the agent's job `layer`). A release names its requirements by a key; the layer of that key is for this machine, and
each kind of servers has one of its own, named by key and kind. The same requirements on the same kind run nothing a
second time, and of changed requirements only what changed is fetched. A layer appears whole: one that was interrupted
is made anew.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import uv

from beanpole.fleet.elsewhere import Elsewhere
from beanpole.fleet.packages import LayerError as LayerError
from beanpole.fleet.packages import Packages
from beanpole.fleet.shelf import Shelf, key_in
from beanpole.platforms import lock
from beanpole.platforms.bundle import Bundle
from beanpole.platforms.lock import Entry, Wheel
from beanpole.platforms.problem import Problem
from beanpole.platforms.python import requirements_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping

    from beanpole.fleet.elsewhere import Builder
    from beanpole.platforms.kind import Kind
    from beanpole.platforms.lock import Lock
    from beanpole.platforms.requirements import Requirements
    from beanpole.store.blobs import Blobs
    from beanpole.store.bundles import Manifest


class Release(Protocol):
    """What a layer is made for: the key that `Layers.key` gave, the Python ("3.11") and processes with a `command`."""

    @property
    def layer(self) -> str: ...
    @property
    def python(self) -> str: ...
    @property
    def processes(self) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Target:
    """For whom a layer is made: this machine, or all servers of `kind`.

    `interpreter`, of this machine, builds what is built here; `builder`, a server of the kind, builds the rest.
    """

    interpreter: Path
    kind: Kind | None = None
    builder: Builder | None = None

    def layer(self, key: str) -> str:
        return key if self.kind is None else self.kind.layer(key)


@dataclass(frozen=True)
class Layer:
    """What an instance needs to install.

    `python`, `target`, `uv` and `cache` are for agents of this machine, and nobody else's: a server's own are known to
    whoever knows the server.
    """

    key: str
    lock: str
    wheels: Path
    packages: tuple[Wheel, ...]
    python: Path
    target: Path
    uv: str
    cache: Path

    def digests(self) -> list[str]:
        """SHA-256s of the wheels, which are blobs."""
        return [wheel.sha256 for wheel in self.packages]

    def job_arguments(self) -> dict[str, Any]:
        """Arguments of the agent's job `layer`, for an agent on this machine."""
        return {
            "key": self.key,
            "target": str(self.target),
            "python": str(self.python),
            "lock": self.lock,
            "wheels": str(self.wheels),
            "uv": self.uv,
            "cache": str(self.cache),
        }


@dataclass
class _Run:
    """A layer in the making, and who listens: the callers that wait for it."""

    task: asyncio.Task[None]
    listeners: list[Callable[[str], None]] = field(default_factory=list)


class Layers:
    """The layers below `root`: `fetched/KEY` holds what was fetched, `KEY` is where agents of this machine install.

    `pythons` are the interpreters by version; `environment` holds the user's configuration of pip and uv.
    """

    def __init__(
        self,
        root: Path,
        blobs: Blobs,
        pythons: Mapping[str, Path],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._root = root
        self._blobs = blobs
        self._pythons = pythons
        self._uv = uv.find_uv_bin()
        self._packages = Packages(self._uv, os.environ if environment is None else environment)
        self._machine = "-".join((sys.platform, platform.machine(), *platform.libc_ver()))
        self._running: dict[str, _Run] = {}
        self._shelf = Shelf(root, blobs, own={"cache"})
        (root / "cache").mkdir(exist_ok=True, mode=0o700)

    @property
    def resolutions(self) -> int:
        """How often uv was run to resolve."""
        return self._packages.resolutions

    @property
    def fetches(self) -> int:
        """How often pip was run to fetch or build something."""
        return self._packages.fetches

    def key(self, requirements: Requirements, python: str) -> str:
        """Names these requirements, and their layer for instances on this machine; see `Kind.layer` for others."""
        return requirements.key(python, self._machine)

    def folder(self, key: str) -> Path:
        """Where agents of this machine install the layer, whether or not they did."""
        return self._root / key

    async def ready(
        self,
        release: Release,
        manifest: Manifest,
        on_line: Callable[[str], None],
        kind: Kind | None = None,
        builder: Builder | None = None,
    ) -> Layer:
        """The layer of a release, made now if need be. Raises LayerError; when cancelled, what it started ends.

        For instances on this machine, or for those on machines of a kind; then `builder`, one of these machines, builds
        what has no wheel for it. Calls for one layer at the same time share one run, and each hears its lines.
        """
        files = manifest.files
        bundle = Bundle(files, lambda path: self._blobs.path(files[path]).read_bytes())
        requirements = requirements_of(bundle, [process.command for process in release.processes])
        if isinstance(requirements, Problem):
            raise LayerError(requirements.message, requirements.remedy)
        target = self._target(release.python, kind, builder)
        return await self.lock_and_fetch(
            release.layer, requirements, target, lambda path: self._blobs.path(files[path]), on_line
        )

    async def lock_and_fetch(
        self,
        key: str,
        requirements: Requirements,
        target: Target,
        member: Callable[[str], Path],
        on_line: Callable[[str], None],
    ) -> Layer:
        """As `ready`, for requirements at hand; `member` gives the file on disk for a path in the bundle."""
        name = target.layer(key)
        layer = await asyncio.to_thread(self._find, name, target.interpreter)
        if layer is not None:
            return layer
        await self._shared(name, on_line, lambda say: self._make(name, requirements, target, member, say))
        layer = await asyncio.to_thread(self._find, name, target.interpreter)
        if layer is None:
            raise LayerError(f"the layer {name} was removed while it was made", "Deploy again.")
        return layer

    def packages(self, key: str) -> tuple[tuple[str, str], ...] | None:
        """(name, version) of all packages of a release's key, sorted; None when no layer of it is kept, or was made.

        Kinds of machines may differ in some: what this machine has is told, or else what one of the others has.
        """
        wheels = self._shelf.of_key(key)
        return None if wheels is None else tuple((wheel.name, wheel.version) for wheel in wheels)

    def blobs(self) -> Iterator[str]:
        """Digests of the wheels of all layers."""
        return self._shelf.digests()

    def prune(self, keep: Iterable[str]) -> None:
        """Remove what was fetched and installed for all keys but these, and what is remembered of wheels gone since.

        With a key go its layers for all kinds of machines.

        The caller knows that no release which runs, or may be returned to, uses one of the others.
        """
        self._shelf.prune({*keep, *map(key_in, self._running)})

    def _target(self, python: str, kind: Kind | None, builder: Builder | None) -> Target:
        interpreter = self._pythons.get(python)
        if kind is None:
            if interpreter is None:
                raise LayerError(f"Python {python} is not on this machine", "Install it, or choose another platform.")
            return Target(interpreter)
        if kind.minor != python:
            raise LayerError(f"the release is for Python {python}, not for {kind}", "Choose another platform.")
        return Target(interpreter or Path(sys.executable), kind, builder)

    def _find(self, key: str, interpreter: Path) -> Layer | None:
        packages = self._shelf.wheels(key)
        if packages is None:
            return None
        return Layer(
            key=key,
            lock=lock.install_text(packages),
            wheels=self._shelf.folder(key),
            packages=packages,
            python=interpreter,
            target=self.folder(key),
            uv=self._uv,
            cache=self._root / "cache",
        )

    async def _shared(
        self,
        key: str,
        on_line: Callable[[str], None],
        make: Callable[[Callable[[str], None]], Coroutine[Any, Any, None]],
    ) -> None:
        run = self._running.get(key)
        if run is None:
            listeners: list[Callable[[str], None]] = []

            def say(line: str) -> None:
                for listener in tuple(listeners):
                    listener(line)

            run = self._running[key] = _Run(asyncio.create_task(make(say), name=f"layer {key[:16]}"), listeners)
            run.task.add_done_callback(lambda _: self._forget(key, run))
        run.listeners.append(on_line)
        try:
            await asyncio.shield(run.task)
        finally:
            run.listeners.remove(on_line)
            if not run.listeners and not run.task.done():
                # First: who asks from now on must not join a run that is being ended.
                self._forget(key, run)
                run.task.cancel()
                await asyncio.wait([run.task])

    def _forget(self, key: str, run: _Run) -> None:
        if self._running.get(key) is run:
            del self._running[key]

    async def _make(
        self,
        key: str,
        requirements: Requirements,
        target: Target,
        member: Callable[[str], Path],
        say: Callable[[str], None],
    ) -> None:
        await asyncio.to_thread(self._shelf.clear, key)
        wheels: list[Wheel] = []
        if not requirements.empty:
            # Not below the root: uv takes configuration from the folders above the one it runs in.
            with tempfile.TemporaryDirectory(prefix="beanpole-layer-") as temporary:
                folder = Path(temporary) / "bundle"
                await asyncio.to_thread(_lay_out, requirements, member, folder)
                wheels = await self._wheels(requirements, target, folder, say)
        await asyncio.to_thread(self._shelf.keep, key, wheels)

    async def _wheels(
        self, requirements: Requirements, target: Target, folder: Path, say: Callable[[str], None]
    ) -> list[Wheel]:
        resolved = await self._packages.resolve(requirements, target.interpreter, folder, say, target.kind)
        user = self._user(target)
        remembered = {entry: self._shelf.remembered(entry, user) for entry in resolved.entries}
        missing = [entry for entry, wheel in remembered.items() if wheel is None]
        wheels = [wheel for wheel in remembered.values() if wheel is not None]
        if missing:
            fetched = await self._fetched(resolved, missing, target, folder, say)
            stored = await asyncio.to_thread(self._shelf.store, fetched)
            by_name = {wheel.name: wheel for wheel in stored}
            for entry in missing:
                if not entry.is_local and entry.name in by_name:
                    self._shelf.remember(entry, user, by_name[entry.name])
            wheels += stored
        if len(wheels) != len(remembered):
            cause = f"{len(remembered)} packages were resolved and {len(wheels)} fetched"
            raise LayerError(cause, "This is a mistake of Beanpole's: please report it with the requirement files.")
        return sorted(wheels, key=lambda wheel: wheel.name)

    def _user(self, target: Target) -> str:
        """For whom a wheel is remembered, one interpreter or kind: a wheel for one Python is none for another."""
        return f"{self._machine}\n{target.interpreter}" if target.kind is None else target.kind.wheels

    async def _fetched(
        self, resolved: Lock, missing: list[Entry], target: Target, folder: Path, say: Callable[[str], None]
    ) -> Path:
        if target.kind is None:
            return await self._packages.fetch(resolved, missing, target.interpreter, folder, say)
        elsewhere = Elsewhere(self._packages, target.kind, target.interpreter, target.builder)
        return await elsewhere.fetch(resolved, missing, folder, folder.parent, say)


def _lay_out(requirements: Requirements, member: Callable[[str], Path], folder: Path) -> None:
    folder.mkdir()
    for name, _ in requirements.members:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(member(name), target)
    for name, text in requirements.texts:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
