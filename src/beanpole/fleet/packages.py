"""Resolves and fetches Python packages by running uv and pip in a folder that holds the requirement files.

uv resolves; pip fetches what it resolved, verifies each file against its hash, and builds wheels of what is source
only. Both ask the indexes that the user configured for either. For machines of another kind uv resolves and pip
downloads all the same; only building happens on this machine. What was started has ended when a call returns.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from collections import deque
from typing import TYPE_CHECKING

from beanpole.fleet import subprocesses
from beanpole.platforms import failure, indexes, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from beanpole.platforms.kind import Kind
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
        self,
        requirements: Requirements,
        interpreter: Path,
        folder: Path,
        say: Callable[[str], None],
        kind: Kind | None = None,
    ) -> Lock:
        """Every package with its version and hashes, for the interpreter or for another kind of machine.

        `folder` holds the files of `requirements`. For another kind the interpreter reads the metadata of what is
        source only. Raises LayerError.
        """
        pip = indexes.pip_options(await self._pip_configuration(folder))
        written = folder.parent / "resolved.txt"
        words = [
            *(self._uv, "pip", "compile", "--python", str(interpreter), "--generate-hashes"),
            *(kind.uv_words() if kind is not None else ()),
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
                (folder / name).write_text(_text(resolved, *(entry.line for entry in part)))
                say(f"fetching {len(part)} packages" if part is locked else f"building {len(part)} packages")
                await self._wheel(["-r", name, *words], wheels, interpreter, folder, say, [e.name for e in part])
        return wheels

    async def download(
        self, resolved: Lock, entries: Sequence[Entry], kind: Kind, into: Path, folder: Path, say: Callable[[str], None]
    ) -> None:
        """For each entry, which has hashes: the wheel that fits the kind best, or the source archive if none fits."""
        self.fetches += 1
        (folder / _LOCKED).write_text(_text(resolved, *(entry.line for entry in entries)))
        say(f"fetching {len(entries)} packages for {kind}")
        words = [*self._pip(), "download", "--no-deps", "--dest", str(into), *kind.pip_words()]
        await self._pip_run([*words, "--require-hashes", "-r", _LOCKED], folder, say, [e.name for e in entries])

    async def build(
        self,
        resolved: Lock,
        what: str,
        name: str,
        interpreter: Path,
        into: Path,
        folder: Path,
        say: Callable[[str], None],
    ) -> Path:
        """The wheel of a source archive or a project (`what`, as a requirement), in the empty folder `into`."""
        (folder / _UNLOCKED).write_text(_text(resolved, what))
        say(f"building {name or what}")
        await self._wheel(["-r", _UNLOCKED], into, interpreter, folder, say, [name])
        return _only(into)

    async def _wheel(
        self,
        what: list[str],
        wheels: Path,
        interpreter: Path,
        folder: Path,
        say: Callable[[str], None],
        names: Iterable[str],
    ) -> None:
        words = [*self._pip(), "--python", str(interpreter), "wheel", "--no-deps", "--wheel-dir", str(wheels), *what]
        await self._pip_run(words, folder, say, names)

    async def _pip_run(
        self, words: Sequence[str], folder: Path, say: Callable[[str], None], names: Iterable[str]
    ) -> None:
        environment = {
            **self._environment,
            **indexes.pip_environment(self._environment),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_REQUIRE_VIRTUALENV": "0",
        }
        await self._run([*words, "--progress-bar", "off", "--no-color"], folder, environment, FETCH_TIMEOUT, say, names)

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
            status = await subprocesses.run(words, folder, environment, timeout, hear, stdout)
        except TimeoutError as error:
            cause = f"{program} did not end within {timeout:.0f} s"
            raise LayerError(cause, "Check that the package index answers.", last_lines=lines) from error
        except OSError as error:
            raise LayerError(f"{program} cannot be started: {error}", "Install Beanpole again.") from error
        if status != 0:
            found = failure.explain(list(lines), names)
            raise LayerError(found.cause, found.remedy, found.requirement, lines)


def _text(resolved: Lock, *lines: str) -> str:
    """A requirement file for pip: where to look, then what for."""
    return "\n".join([*resolved.options, *lines, ""])


def _only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path
