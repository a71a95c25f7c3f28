"""The Python interpreters of this machine: each is a platform that instances here can have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OLDEST, NEWEST = 9, 15
"""Minor versions of Python 3 that are looked for."""

ANSWER = 10.0
"""Seconds for an interpreter to say what it is."""

_QUESTION = """
import sys, venv
print("%d.%d" % sys.version_info[:2])
print(getattr(sys, "_base_executable", sys.executable))
"""


def installed_pythons() -> dict[str, Path]:
    """Version (`3.11`) → interpreter, each one asked: names on the PATH may be shims that lead nowhere."""
    candidates = [sys.executable, *(f"python3.{minor}" for minor in range(OLDEST, NEWEST + 1)), "python3"]
    paths = [path for path in map(shutil.which, candidates) if path]
    found: dict[str, Path] = {}
    # Side by side: a version manager's shim takes a tenth of a second to say that it leads nowhere.
    with ThreadPoolExecutor(len(paths)) as pool:
        for answer in pool.map(_ask, paths):
            if answer is not None:
                found.setdefault(*answer)
    return found


def _ask(path: str) -> tuple[str, Path] | None:
    try:
        answer = subprocess.run(
            [path, "-I", "-c", _QUESTION], capture_output=True, text=True, timeout=ANSWER, check=True
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    version, interpreter = answer
    major, minor = (int(part) for part in version.split("."))
    return (version, Path(interpreter)) if (major, minor) >= (3, OLDEST) else None
