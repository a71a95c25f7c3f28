"""One host's disk: an ext4 image of fixed size, so that a host that fills it harms nobody else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .machine import read, run, wait

FILLER = "filler"  # beside the overlay's folders, where the host cannot see it
BLOCK = 4096  # bytes
LARGEST = 1 << 30  # bytes taken at once


class Disk:
    def __init__(self, image: Path) -> None:
        self.image = image

    def make(self, megabytes: int) -> None:
        """An empty disk; what was there is gone."""
        self.image.unlink(missing_ok=True)
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"]
        run("mkfs.ext4", *options, str(self.image))

    def wait_released(self) -> None:
        """Returns when no loop device holds the image any more."""
        wait(f"the release of {self.image}", 20, lambda: not self._loops())

    def _loops(self) -> list[str]:
        found = []
        for device in Path("/sys/block").iterdir():
            behind = read(device / "loop/backing_file").strip().removesuffix(" (deleted)")
            if behind == str(self.image):
                found.append(device.name)
        return found


def fill(mounted: Path, leave: int) -> None:
    """Takes all blocks of the mounted disk but `leave` bytes."""
    filler = os.open(mounted / FILLER, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        chunk = LARGEST
        while chunk >= BLOCK:
            left = os.fstatvfs(filler)
            want = min(chunk, left.f_bavail * left.f_frsize - leave) // BLOCK * BLOCK
            if want <= 0:
                break
            try:
                os.posix_fallocate(filler, os.fstat(filler).st_size, want)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                chunk = want // 2  # the file system needs some blocks for the filler's own map
    finally:
        os.close(filler)


def unfill(mounted: Path) -> None:
    (mounted / FILLER).unlink(missing_ok=True)


def used_megabytes(mounted: Path) -> int:
    seen = os.statvfs(mounted)
    return round((seen.f_blocks - seen.f_bfree) * seen.f_frsize / 2**20)
