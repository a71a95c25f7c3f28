"""Processes that still belong to a home: those that work in it, or were started with a path of it. Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

INSIDE = ("instances", "edge", "layers", "programs")
"""Folders of a home from which processes are started. The home itself would also find whoever was given `--home`."""


@dataclass(frozen=True)
class Process:
    pid: int
    name: str


def leftovers(root: Path) -> list[Process]:
    """Empty where the system has no /proc: then nothing can be verified."""
    folders = tuple(f"{root / name}{os.sep}" for name in INSIDE)
    found = []
    for entry in PROC.glob("[0-9]*"):
        pid = int(entry.name)
        if pid == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            places = [*words, f"{(entry / 'cwd').readlink()}{os.sep}"]
        except OSError:
            continue  # it ended, or belongs to somebody else and so not to this home
        if any(place.startswith(folders) for place in places):
            found.append(Process(pid, Path(words[0]).name or "unknown"))
    return found
