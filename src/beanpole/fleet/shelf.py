"""What was fetched for layers, on disk: the wheels of each layer, and which wheel each locked entry gave.

`fetched/KEY` holds a layer's wheels, links to blobs, and `layer.json`, which names them; it appears whole, or not at
all. What lies beside is for whoever installs, and goes with the key.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from typing import TYPE_CHECKING

import msgspec

from beanpole.platforms import lock
from beanpole.platforms.lock import Wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from beanpole.platforms.lock import Entry
    from beanpole.store.blobs import Blobs

CHUNK = 1024 * 1024
"""Bytes of a wheel read at a time."""


class Shelf:
    """What is below `root`. `own`: folders there that are others' and no layers."""

    def __init__(self, root: Path, blobs: Blobs, own: Iterable[str] = ()) -> None:
        self._root = root
        self._fetched = root / "fetched"
        self._entries = root / "entries"
        self._blobs = blobs
        self._own = {self._fetched.name, self._entries.name, *own}
        for folder in (root, self._fetched, self._entries):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, name: str) -> Path:
        """Where the wheels of that layer are."""
        return self._fetched / name / "wheels"

    def wheels(self, name: str) -> tuple[Wheel, ...] | None:
        """Those of that layer; None when it is not there."""
        return _wheels_in(self._fetched / name)

    def of_key(self, key: str) -> tuple[Wheel, ...] | None:
        """Those of a layer of that key: this machine's, or else that of one of the kinds."""
        folders = (self._fetched / key, *sorted(self._fetched.glob(f"{key}-*")))
        return next((wheels for folder in folders if (wheels := _wheels_in(folder)) is not None), None)

    def digests(self) -> Iterator[str]:
        """SHA-256s of the wheels of all layers."""
        for path in self._fetched.glob("*/layer.json"):
            for wheel in msgspec.json.decode(path.read_bytes(), type=tuple[Wheel, ...]):
                yield wheel.sha256

    def store(self, folder: Path) -> list[Wheel]:
        """The wheels in a folder become blobs."""
        wheels = []
        for path in sorted(folder.iterdir()):
            name, version = lock.wheel_name(path.name)
            with path.open("rb") as file:
                stored = self._blobs.put(iter(lambda: file.read(CHUNK), b""))
            wheels.append(Wheel(path.name, name, version, stored.sha256, stored.size))
        return wheels

    def keep(self, name: str, wheels: list[Wheel]) -> None:
        """All or nothing: the folder gets its name when everything is in it and on disk."""
        staged = self._fetched / f".{name}.{secrets.token_hex(4)}"
        (staged / "wheels").mkdir(parents=True, mode=0o700)
        for wheel in wheels:
            _link(self._blobs.path(wheel.sha256), staged / "wheels" / wheel.file)
        with (staged / "layer.json").open("wb") as file:
            file.write(msgspec.json.encode(wheels))
            file.flush()
            os.fsync(file.fileno())
        target = self._fetched / name
        try:
            staged.rename(target)
        except OSError:
            # A run that was being ended got here first: its result is as good.
            if not (target / "layer.json").is_file():
                raise
            shutil.rmtree(staged)

    def clear(self, name: str) -> None:
        """What a run for that layer left that was cut."""
        for folder in self._fetched.glob(f".{name}.*"):
            shutil.rmtree(folder)

    def remembered(self, entry: Entry, user: str) -> Wheel | None:
        """The wheel that this entry gave for that user before, if it is still there."""
        path = self._entry_file(entry, user)
        wheel = _read(path) if not entry.is_local and path.is_file() else None
        return wheel if wheel is not None and self._blobs.touch(wheel.sha256) else None

    def remember(self, entry: Entry, user: str, wheel: Wheel) -> None:
        path = self._entry_file(entry, user)
        staged = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        staged.write_bytes(msgspec.json.encode(wheel))
        staged.replace(path)

    def prune(self, keep: set[str]) -> None:
        """Remove all layers but those of these keys, and what is remembered of wheels gone since."""
        for path in [*self._root.iterdir(), *self._fetched.iterdir()]:
            if key_in(path.name) in keep | self._own:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in self._entries.iterdir():
            if not self._blobs.has(_read(path).sha256):
                path.unlink(missing_ok=True)

    def _entry_file(self, entry: Entry, user: str) -> Path:
        return self._entries / hashlib.sha256(f"{user}\n{entry.line}".encode()).hexdigest()


def key_in(name: str) -> str:
    """The release's key in the name of a layer, or of what lies beside it while it is made (`.KEY-KIND.lock`)."""
    return re.split(r"[.-]", name.lstrip("."), maxsplit=1)[0]


def _wheels_in(folder: Path) -> tuple[Wheel, ...] | None:
    try:
        return msgspec.json.decode((folder / "layer.json").read_bytes(), type=tuple[Wheel, ...])
    except FileNotFoundError:
        return None


def _read(path: Path) -> Wheel:
    return msgspec.json.decode(path.read_bytes(), type=Wheel)


def _link(source: Path, target: Path) -> None:
    """A second name for a file that nobody changes; a copy where the file system has no links."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
