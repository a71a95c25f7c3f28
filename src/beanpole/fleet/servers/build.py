"""Builds packages with native code on a server: offline, in a unit of its own, as a user who owns nothing there.

Archive and build tools go there by hash and the wheel comes back; nothing else of it stays on the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import secrets
import tarfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from beanpole.fleet.elsewhere import BuildFailed
from beanpole.fleet.servers import layout
from beanpole.fleet.servers.channel import SUDO
from beanpole.fleet.servers.failure import ConnectionFailed
from beanpole.fleet.servers.transfer import TransferFailed
from beanpole.platforms import failure
from beanpole.platforms.kind import is_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.fleet.elsewhere import Source
    from beanpole.fleet.servers.connection import Ran
    from beanpole.fleet.servers.server import Server

BUILD_SECONDS = 1800
"""For one package to be built; then its unit is ended."""

LONGER = 60.0
"""Seconds beyond that for the wheel to come back."""

STOP_LIMIT = 30.0
"""Seconds for what was started to be ended."""

LAST_LINES = 40

UV = f"{layout.BINARIES}/uv"

STOP = 'systemctl stop "$1.service" 2>/dev/null; rm -rf "/var/lib/beanpole/$1"'

_NO_COMPILER = re.compile(
    r"Python\.h|(gcc|g\+\+|cc|c\+\+|clang|cargo|make)\S*:? .*(not found|No such file)|No such file.*'?(gcc|cc|g\+\+)'?"
)


class ServerBuilder:
    """A `Builder`. `python` is the interpreter there that the applications run on, `uv` the uv that was sent."""

    def __init__(self, server: Server, python: str, uv: str = UV) -> None:
        self._server = server
        self._python = python
        self._uv = uv

    async def build(self, source: Source, into: Path, say: Callable[[str], None]) -> Path:
        files = await asyncio.to_thread(lambda: [_described(path) for path in (source.archive, *source.tools)])
        try:
            await self._server.deliver([(path, digest, size) for path, digest, size in files])
            say(f"building {source.name} {source.version} on {self._server.name}")
            ran = await self._run(source.archive.name, [(path.name, digest) for path, digest, _ in files])
        except (ConnectionFailed, TransferFailed) as problem:
            raise BuildFailed(f"{self._server.name}: {problem.cause}", problem.remedy) from problem
        lines = ran.stderr.decode(errors="replace").splitlines()[-LAST_LINES:]
        if ran.status != 0:
            cause = failure.explain(lines, [source.name]).cause
            raise BuildFailed(f"on {self._server.name}: {cause}", self._remedy(lines), lines)
        return await asyncio.to_thread(self._unpack, ran.stdout, into)

    async def _run(self, archive: str, files: list[tuple[str, str]]) -> Ran:
        unit = f"beanpole-build-{secrets.token_hex(8)}"
        script = resources.files(__package__).joinpath("build.sh").read_bytes()
        given = (unit, str(BUILD_SECONDS), self._uv, self._python, archive, *(word for pair in files for word in pair))
        try:
            return await self._server.connection.run(
                (*SUDO, "sh", "-s", "--", *given), script, limit=BUILD_SECONDS + LONGER
            )
        except BaseException:
            await asyncio.shield(self._stop(unit))
            raise

    async def _stop(self, unit: str) -> None:
        try:
            await self._server.connection.run((*SUDO, "sh", "-c", STOP, "sh", unit), limit=STOP_LIMIT)
        except ConnectionFailed:
            # The server is away. Its unit ends by itself, and what is left is a folder that no other build uses.
            return

    def _unpack(self, content: bytes, into: Path) -> Path:
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as packed:
                entry = next((each for each in packed if each.isfile() and is_wheel(each.name)), None)
                opened = packed.extractfile(entry) if entry is not None else None
                if entry is None or opened is None:
                    raise self._nothing("it holds no wheel")
                wheel = into / Path(entry.name).name
                wheel.write_bytes(opened.read())
        except tarfile.TarError as error:
            raise self._nothing(str(error)) from error
        return wheel

    def _nothing(self, why: str) -> BuildFailed:
        return BuildFailed(f"what came back from {self._server.name} is no wheel: {why}", "Deploy again.")

    def _remedy(self, lines: list[str]) -> str:
        if any(_NO_COMPILER.search(line) for line in lines):
            needs = "a compiler and Python's headers (Debian, Ubuntu: sudo apt install build-essential python3-dev)"
            return f"Install {needs} on {self._server.name}, or choose a version of the package that has a wheel."
        return f"Install on {self._server.name} what the build needs, or choose a version that has a wheel."


def _described(path: Path) -> tuple[Path, str, int]:
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
