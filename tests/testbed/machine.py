"""This machine, as the test bed uses it: processes, files, kernel settings, and waits that have a limit."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONGEST = 300.0  # seconds that one command may take; apt-get with a slow mirror is the slowest
SHOWN = 800  # characters of a failed command's output that a person gets to see
T = TypeVar("T")


class BedError(Exception):
    """What a person should read: the cause, and the remedy where there is one."""


def attempt(
    *words: str, text: str | None = None, env: Mapping[str, str] | None = None, timeout: float = LONGEST
) -> subprocess.CompletedProcess[str]:
    """Runs a command and returns its status and output (both streams in one), whatever the status is."""
    return subprocess.run(
        words,
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def run(*words: str, text: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """The output of a command. A status other than 0 is a BedError with the end of the output."""
    done = attempt(*words, text=text, env=env)
    if done.returncode:
        raise BedError(f"{' '.join(words)[:160]}: exit {done.returncode}: {done.stdout.strip()[-SHOWN:]}")
    return done.stdout


def batch(*options: str, lines: Iterable[str]) -> None:
    """Many `ip` commands in one process."""
    run("ip", *options, "-batch", "-", text="".join(line + "\n" for line in lines))


def read(path: Path, default: str = "") -> str:
    """A file's text; `default` where it cannot be read, as with a process or a device that has just gone."""
    try:
        return path.read_text()
    except OSError:
        return default


def read_json(path: Path) -> dict[str, Any]:
    found = json.loads(read(path, "{}"))
    return found if isinstance(found, dict) else {}


def write(path: Path, text: str, mode: int = 0o644, owner: int = 0) -> None:
    """Replaces a file at once, so that commands that take no lock never see half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    new.chmod(mode)  # the umask may have taken some of it
    os.chown(new, owner, owner)
    new.replace(path)


def write_setting(name: str, value: str) -> None:
    (Path("/proc/sys") / name).write_text(value)


def wait(what: str, seconds: float, test: Callable[[], T], step: float = 0.02) -> T:
    """The first true value of `test`, or a BedError after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > end:
            raise BedError(f"{what}: not within {seconds:g} s")
        time.sleep(step)


def remove_tree(path: Path, within: Path) -> None:
    """Removes a folder or file below `within`, and nothing that is mounted in it."""
    if not os.path.lexists(path):
        return
    if path != within and within not in path.parents:
        raise BedError(f"will not remove {path}: it is not in {within}")
    for line in read(Path("/proc/self/mountinfo")).splitlines():
        mounted = Path(line.split()[4])
        if path == mounted or path in mounted.parents:
            raise BedError(f"will not remove {path}: {mounted} is mounted in it")
    run("rm", "-rf", "--one-file-system", str(path))
