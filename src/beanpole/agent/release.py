"""The releases of one instance as folders: releases/DIGEST/{app,release.json}, and `current`, the boot target.

A folder appears under its digest only when all of it is there. `release.json` holds environment properties: 0600.
DIGEST.2 is the same release started anew: a link to its folder, so that what the application wrote there stays.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from . import durable, static_process
from .failure import JobFailure

_DIGEST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
STAGING = ".staging-"  # unfinished folders beside the releases begin so
FETCHED = "fetched"
TOUCHED = "touched"  # commands ran in the fetched folder, and it was not prepared yet
PREPARED = "prepared"


@dataclass(frozen=True)
class Release:
    """A release on this instance. `processes` are (name, command line); `manifest` is the digest of its file list."""

    digest: str
    state: str
    manifest: str
    boot: str
    """The boot in which the files were copied: until the release is committed, a power cut may have torn them."""
    durable: bool = False
    processes: Tuple[Tuple[str, str], ...] = ()
    environment: Dict[str, str] = field(default_factory=dict)
    layer: Optional[str] = None
    stop_first: bool = False
    static: Tuple[Tuple[str, str], ...] = ()
    """Paths and the folders below the bundle from which they are answered."""

    @property
    def names(self) -> Tuple[str, ...]:
        """Of all processes that run for it."""
        files = (static_process.NAME,) if self.static else ()
        return (*(name for name, _ in self.processes), *files)

    def command(self, name: str) -> Optional[str]:
        return dict(self.processes).get(name)


class Releases:
    """The folder `releases` of a home."""

    def __init__(self, home: Path) -> None:
        self.root = home / "releases"
        self._current = home / "current"
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o711)  # whoever runs an application passes through to it

    def folder(self, digest: str) -> Path:
        """Where that release lies or would lie. JobFailure for what cannot name a folder."""
        if not _DIGEST.fullmatch(digest):
            raise JobFailure("release", f"{digest!r} cannot name a release", "Update the control plane.")
        return self.root / digest

    def app(self, digest: str) -> Path:
        return self.folder(self.origin(digest)) / "app"

    def origin(self, digest: str) -> str:
        """The name under which the files of that release lie."""
        folder = self.folder(digest)
        return folder.readlink().name if folder.is_symlink() else digest

    def find(self, digest: str) -> Optional[Release]:
        value = durable.read_json(self.folder(digest) / "release.json")
        if value is None:
            return None
        for pairs in ("processes", "static"):  # the latter is not in what earlier agents wrote
            value[pairs] = tuple((one, other) for one, other in value.get(pairs, ()))
        return Release(**{**value, "digest": digest})

    def get(self, digest: str, stage: str) -> Release:
        """JobFailure when the release is not here."""
        release = self.find(digest)
        if release is None:
            raise JobFailure(stage, f"release {digest} is not on this instance", "It must be fetched first.")
        return release

    def prepared(self, digest: str, stage: str) -> Release:
        """JobFailure when the release is not here or not prepared."""
        release = self.get(digest, stage)
        if release.state != PREPARED:
            raise JobFailure(stage, f"release {digest} is {release.state} only", "It must be prepared first.")
        return release

    def write(self, release: Release, folder: Optional[Path] = None) -> None:
        durable.write_json((folder or self.folder(release.digest)) / "release.json", asdict(release))

    def all(self) -> List[str]:
        names = (path.parent.name for path in self.root.glob("*/release.json"))
        return sorted(name for name in names if not name.startswith("."))

    @property
    def current(self) -> Optional[str]:
        """The boot target."""
        try:
            return self._current.readlink().name
        except FileNotFoundError:
            return None

    def commit(self, digest: str) -> None:
        """Makes the release the boot target; it is on disk before that."""
        durable.sync_all(self.folder(digest))
        durable.link(self._current, f"releases/{digest}")

    def again(self, digest: str) -> Optional[str]:
        """Gives that name to a release that was committed here in another turn, and answers which; None: none was."""
        known = self.find(digest)
        if known is not None and known.durable:
            return digest
        alike = [name for name in self.all() if _base(name) == _base(digest) and self.get(name, "again").durable]
        if not alike or known is not None:
            return None
        found = next((name for name in alike if name == self.current), alike[-1])
        durable.link(self.folder(digest), self.origin(found))
        return found

    def remove(self, digest: str) -> None:
        """Removes a release; at no moment is there half of it under its name."""
        folder = self.folder(digest)
        if folder.is_symlink():
            folder.unlink()
            return
        gone = self.root / f"{STAGING}gone-{digest}"
        if folder.exists():
            folder.rename(gone)
        remove_tree(gone)

    def remove_unfinished(self) -> None:
        """Removes what jobs of an earlier agent left half done."""
        for path in self.root.glob(f"{STAGING}*"):
            remove_tree(path)


def _base(digest: str) -> str:
    """What a release is, whichever turn of it."""
    return digest.partition(".")[0]


def remove_tree(folder: Path) -> None:
    """Removes a folder, also where an application made folders of it read-only. OSError when something stays."""
    if not folder.exists():
        return
    # Root needs no modes, and must not change any by a path that the application's user may turn into another one.
    for path in folder.rglob("*") if os.geteuid() != 0 else ():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    import shutil  # here, because it brings five compression libraries with it

    shutil.rmtree(folder)
