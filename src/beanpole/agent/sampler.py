"""The instance's vital signs: processor shares since the last sample, load, memory, disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

from .kernel import Kernel

SAMPLE_SECONDS = 10.0  # between samples
USER_HZ = os.sysconf("SC_CLK_TCK")  # ticks per second and core


class Sampler:
    """Keeps the two last samples, so that a question right after one still covers a whole span."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._before = self._last = kernel.cpu()

    def sample(self) -> None:
        """To be called every `SAMPLE_SECONDS`."""
        self._before, self._last = self._last, self._kernel.cpu()

    def view(self, home: Path) -> Dict[str, Any]:
        """What GET /state tells of the instance: percentages, bytes, and the load over 1, 5 and 15 minutes."""
        now = self._kernel.cpu()
        span = sum((now.user, now.nice, now.system, now.idle, now.iowait, now.other)) - sum(
            (self._last.user, self._last.nice, self._last.system, self._last.idle, self._last.iowait, self._last.other)
        )
        enough = span >= USER_HZ * SAMPLE_SECONDS / 2 * (os.cpu_count() or 1)
        status = os.statvfs(home)
        return {
            "cpu": now.shares(self._last if enough else self._before),
            "load": [round(value, 2) for value in os.getloadavg()],
            "memory_available": self._kernel.memory_available(),
            "disk_free": status.f_bavail * status.f_frsize,
        }
