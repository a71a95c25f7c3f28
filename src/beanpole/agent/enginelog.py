"""log/engine.log: what jobs did and what their commands wrote, in the line format of Beanstalk's eb-engine.log."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .rotation import KEPT, SIZE_LIMIT, move_along


class EngineLog:
    """Only the agent writes this file, so that it is rotated by renaming, and no line is lost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def line(self, text: str, level: str = "INFO") -> None:
        """One line with the time in front. Never pass a value that may be secret."""
        now = time.time()
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(now))
        self.raw(f"{stamp}.{int(now % 1 * 1e6):06d} [{level}] {text}\n".encode("utf-8", "replace"))

    def raw(self, data: bytes) -> None:
        """Output of a command, as it is."""
        with contextlib.suppress(OSError):  # a full disk must not end the command that writes
            # Only what was written counts: what was not must not push out what is in the rotated files.
            self._size += os.write(self._descriptor, data)
            if self._size > SIZE_LIMIT:
                self._begin_anew()

    def _begin_anew(self) -> None:
        move_along(self._path, KEPT)
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._size = 0  # also when there is no room for a new file: then the renamed one goes on for as long again
        written, self._descriptor = self._descriptor, self._open()
        os.close(written)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
