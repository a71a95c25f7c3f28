"""Runs a program to its end and hears its lines. Whatever happens, nothing of it is left when the call returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LINE_LIMIT = 2000
"""Characters kept of one line of output."""

_READ = 64 * 1024


async def run(
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
