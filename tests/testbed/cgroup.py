"""Control groups: each host has one, so that its processes can be counted, frozen and killed as one.

It lies in the cgroup2 tree and, where a cgroup1 tree has name=systemd, there too.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from pathlib import Path

from .machine import BedError, read, wait


def roots() -> list[Path]:
    """Mount points of the cgroup2 tree, then of the cgroup1 tree name=systemd if there is one."""
    two, one = [], []
    for line in read(Path("/proc/self/mountinfo")).splitlines():
        left, right = line.split(" - ", 1)
        fields, (kind, _, options) = left.split(), right.split(None, 2)
        if fields[3] == "/" and kind == "cgroup2":
            two.append(Path(fields[4]))
        elif fields[3] == "/" and kind == "cgroup" and "name=systemd" in options.split(","):
            one.append(Path(fields[4]))
    if not two:
        raise BedError(
            "no cgroup2 tree is mounted here (mkdir -p /sys/fs/cgroup/unified && "
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified)"
        )
    return two[:1] + one[:1]


class Cgroup:
    """One group of processes; it need not exist yet."""

    def __init__(self, prefix: str, name: str = "") -> None:
        self.folders = [root / prefix / name for root in roots()]
        self.folder = self.folders[0]

    def make(self) -> list[Path]:
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        return self.folders

    def populated(self) -> bool:
        return self._event("populated")

    def frozen(self) -> bool:
        return self._event("frozen")

    def freeze(self, yes: bool) -> None:
        """Returns when every process stands still, or goes on."""
        (self.folder / "cgroup.freeze").write_text("1" if yes else "0")
        wait("freezing" if yes else "thawing", 10, lambda: self.frozen() == yes)

    def pids(self, below: str = "", deep: bool = True) -> list[int]:
        """Processes in the group (or one below it), as this machine numbers them."""
        top = self.folder / below
        folders = [Path(folder) for folder, _, _ in os.walk(top)] if deep else [top]
        found = [int(word) for folder in folders for word in read(folder / "cgroup.procs").split()]
        return [pid for pid in found if pid > 0]

    def kill(self) -> None:
        """Kills all that runs in the group, then removes it."""

        def gone() -> bool:
            if not self.populated():
                return True
            try:
                (self.folder / "cgroup.kill").write_text("1")
            except FileNotFoundError:  # before Linux 5.14
                for pid in self.pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return not self.populated()

        if self.folder.is_dir():
            wait(f"killing {self.folder.name}", 20, gone)
        self.remove()

    def remove(self) -> None:
        """Removes the empty group and those below it."""

        def gone(top: Path) -> bool:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # still busy for a moment after the last process
                    Path(folder).rmdir()
            return not top.is_dir()

        for folder in self.folders:
            wait(f"removing the control group {folder}", 10, partial(gone, folder))

    def _event(self, key: str) -> bool:
        return f"{key} 1" in read(self.folder / "cgroup.events").splitlines()
