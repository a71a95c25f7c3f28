"""Resolves and fetches Python packages by running uv and pip in a folder that holds the requirement files.

uv resolves; pip fetches what it resolved, verifies each file against its hash, and builds wheels of what is source
only. Both ask the indexes that the user configured for either. What was started has ended when a call returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

from beanpole.platforms import failure, indexes, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from beanpole.platforms.lock import Entry, Lock
    from beanpole.platforms.requirements import Requirements

RESOLVE_TIMEOUT = 600.0
"""Seconds for resolving. Seconds are usual; packages without metadata have to be built to learn what they need."""

FETCH_TIMEOUT = 3600.0
"""Seconds for fetching and building: some packages have gigabytes."""

CONFIGURATION_TIMEOUT = 60.0
"""Seconds for pip to print its configuration."""

LAST_LINES = 40
"""Lines of output that an error keeps."""

LINE_LIMIT = 2000
"""Characters kept of one line of output."""

_READ = 64 * 1024
_CREDENTIALS = re.compile(r"://[^/\s@]+@")
_LOCKED = "beanpole-locked.txt"
_UNLOCKED = "beanpole-unlocked.txt"


class LayerError(Exception):
    """The packages cannot be had. `requirement` is "" where the cause names none."""

    def __init__(self, cause: str, remedy: str, requirement: str = "", last_lines: Iterable[str] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.requirement = requirement
        self.last_lines = tuple(last_lines)


class Packages:
    """`environment` is the user's, with the configuration of uv and pip. The counters are of runs that were started."""

    def __init__(self, uv: str, environment: Mapping[str, str]) -> None:
        self._uv = uv
        self._environment = dict(environment)
        self.resolutions = 0
        self.fetches = 0

    async def resolve(
        self, requirements: Requirements, interpreter: Path, folder: Path, say: Callable[[str], None]
    ) -> Lock:
        """Every package with its version and hashes. `folder` holds the files of `requirements`. Raises LayerError."""
        pip = indexes.pip_options(await self._pip_configuration(folder))
        written = folder.parent / "resolved.txt"
        words = [
            *(self._uv, "pip", "compile", "--python", str(interpreter), "--generate-hashes"),
            *("--no-header", "--no-annotate", "--emit-index-url", "--emit-find-links", "--output-file", str(written)),
            *indexes.uv_words(pip),
            *requirements.sources,
        ]
        environment = {
            **self._environment,
            **indexes.uv_environment(self._environment, pip, own_indexes=requirements.names_indexes),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }
        self.resolutions += 1
        say("resolving dependencies")
        await self._run(words, folder, environment, RESOLVE_TIMEOUT, say, requirements.names)
        return lock.parse(written.read_text(), dict(requirements.hashes))

    async def fetch(
        self, resolved: Lock, entries: Sequence[Entry], interpreter: Path, folder: Path, say: Callable[[str], None]
    ) -> Path:
        """A folder with one wheel for each entry. Raises LayerError, also for a file that is not what was locked."""
        wheels = folder.parent / "wheels"
        wheels.mkdir()
        self.fetches += 1
        locked = [entry for entry in entries if entry.hashes]
        unlocked = [entry for entry in entries if not entry.hashes]
        for name, part, words in ((_LOCKED, locked, ["--require-hashes"]), (_UNLOCKED, unlocked, [])):
            if part:
                (folder / name).write_text("\n".join([*resolved.options, *(entry.line for entry in part), ""]))
                say(f"fetching {len(part)} packages" if part is locked else f"building {len(part)} packages")
                await self._wheel(["-r", name, *words], wheels, interpreter, folder, say, [e.name for e in part])
        return wheels

    async def _wheel(
        self,
        what: list[str],
        wheels: Path,
        interpreter: Path,
        folder: Path,
        say: Callable[[str], None],
        names: Iterable[str],
    ) -> None:
        words = [
            *(*self._pip(), "--python", str(interpreter), "wheel", "--no-deps", "--wheel-dir", str(wheels)),
            *("--progress-bar", "off", "--no-color", *what),
        ]
        environment = {
            **self._environment,
            **indexes.pip_environment(self._environment),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_REQUIRE_VIRTUALENV": "0",
        }
        await self._run(words, folder, environment, FETCH_TIMEOUT, say, names)

    async def _pip_configuration(self, folder: Path) -> str:
        listing: list[str] = []
        environment = {**self._environment, "PIP_NO_COLOR": "1"}
        words = [*self._pip(), "config", "list"]
        await self._run(words, folder, environment, CONFIGURATION_TIMEOUT, listing.append, (), raw=True)
        return "\n".join(listing)

    def _pip(self) -> list[str]:
        if importlib.util.find_spec("pip") is None:
            cause = f"pip is not installed beside Beanpole ({sys.executable})"
            raise LayerError(cause, f"Install it: `uv pip install --python {sys.executable} pip`.")
        # Isolated: the folder it runs in is the user's bundle, whose modules must not replace the standard library's.
        return [sys.executable, "-I", "-m", "pip"]

    async def _run(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        timeout: float,
        say: Callable[[str], None],
        names: Iterable[str],
        *,
        raw: bool = False,
    ) -> None:
        """Raises LayerError unless the program ends well. `raw` lets passwords in addresses through to `say`."""
        lines: deque[str] = deque(maxlen=LAST_LINES)

        def hear(line: str) -> None:
            shown = _CREDENTIALS.sub("://****@", line)
            lines.append(shown)
            say(line if raw else shown)

        program = "uv" if words[0] == self._uv else "pip"
        # What uv resolves it also prints, beside writing it: hundreds of hashes that nobody reads.
        stdout = asyncio.subprocess.DEVNULL if program == "uv" else asyncio.subprocess.PIPE
        try:
            status = await _run(words, folder, environment, timeout, hear, stdout)
        except TimeoutError as error:
            cause = f"{program} did not end within {timeout:.0f} s"
            raise LayerError(cause, "Check that the package index answers.", last_lines=lines) from error
        except OSError as error:
            raise LayerError(f"{program} cannot be started: {error}", "Install Beanpole again.") from error
        if status != 0:
            found = failure.explain(list(lines), names)
            raise LayerError(found.cause, found.remedy, found.requirement, lines)


async def _run(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float,
    hear: Callable[[str], None],
    stdout: int,
) -> int:
    """The exit status. The program and its children are gone when this returns or raises (TimeoutError, OSError)."""
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
            await asyncio.gather(*(_lines(stream, hear) for stream in streams))
            return await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise


async def _lines(stream: asyncio.StreamReader, hear: Callable[[str], None]) -> None:
    rest = b""
    while chunk := await stream.read(_READ):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            hear(line.decode(errors="replace")[:LINE_LIMIT].rstrip())
        rest = rest[-LINE_LIMIT:]
    if rest:
        hear(rest.decode(errors="replace"))
