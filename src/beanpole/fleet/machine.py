"""What this machine has left."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def memory_available(source: Path = MEMINFO) -> int | None:
    """Bytes that new processes can have without anything being swapped out; None where the system does not tell."""
    try:
        lines = source.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
