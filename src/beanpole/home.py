"""The folder in which one Beanpole keeps all that it has, and the lock that keeps a second one out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

import platformdirs

LOCK_PATIENCE = 1.0
"""Seconds: whoever only asks who holds the lock has it for a moment."""


class HomeUnusable(Exception):
    """The folder cannot be used; the message says why and what to do."""


class Home:
    """Paths below one folder. Everything in it is private to its owner."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "beanpole.db"
        self.store = root / "store.json"
        """Where the store is, if not in the file above: see storage.py."""
        self.blobs = root / "blobs"
        self.objects = root / "objects"
        self.layers = root / "layers"
        self.programs = root / "programs"
        self.instances = root / "instances"
        self.edge = root / "edge"
        self.credentials = root / "credentials"
        self.log = root / "control-plane.log"
        self.state = root / "control-plane.json"
        self.ports = root / "ports.json"
        """Those of the last start, for the next one. Stays when the control plane is stopped."""
        self._lock: int | None = None
        self._made = False

    @classmethod
    def chosen(cls, option: Path | None) -> Home:
        """`--home`, else BEANPOLE_HOME, else the platform's folder for data."""
        chosen = option or os.environ.get("BEANPOLE_HOME") or platformdirs.user_data_dir("beanpole")
        return cls(Path(chosen).expanduser().absolute())

    def obstacle(self) -> Path | None:
        """The file that is where this folder, or one above it, would have to be."""
        return next((each for each in (self.root, *self.root.parents) if each.exists() and not each.is_dir()), None)

    def make(self) -> None:
        """Make the folders that are missing. Raises HomeUnusable when it cannot be written."""
        try:
            if (obstacle := self.obstacle()) is not None:
                raise HomeUnusable(
                    f"the home {self.root} cannot be used: {obstacle} is a file, not a folder. Choose another with "
                    "--home or BEANPOLE_HOME."
                )
            self._made = not self.root.exists()
            for folder in (self.root, self.programs, self.instances, self.edge):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.root / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as problem:
            raise HomeUnusable(
                f"the home {self.root} cannot be written: {problem.strerror}. Choose another with --home or "
                "BEANPOLE_HOME."
            ) from problem

    def clear(self) -> None:
        """Remove what `make` and `lock` made, in a home in which no control plane ever got further."""
        if not self._made or self.database.exists() or self.store.exists():
            return
        (self.root / "lock").unlink(missing_ok=True)
        for folder in (self.programs, self.instances, self.edge, self.root):
            with contextlib.suppress(OSError):  # something is in it: not ours to remove
                folder.rmdir()

    def keep(self, path: Path, text: str) -> None:
        """Write a private file whole or not at all; others cannot read it, not even for a moment."""
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(path)

    def lock(self) -> None:
        """Keep other control planes out for as long as this process lives. Raises HomeUnusable when one is running."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        limit = time.monotonic() + LOCK_PATIENCE
        while not _locked(descriptor):
            if time.monotonic() < limit:
                time.sleep(0.05)
                continue
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise HomeUnusable(
                f"another control plane (pid {holder}) uses the home {self.root}. Stop it with `beanpole down`, "
                "or choose another home with --home."
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """The pid of the control plane that runs on this home, None when none does."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return None if _locked(descriptor) else int(os.read(descriptor, 20).strip() or b"0") or None
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
