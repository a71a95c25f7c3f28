"""One command of a job: its output goes to the engine log as it comes, its last lines are kept for the error.

When the job is cancelled or the time is over, the command's whole process group is ended.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Deque, Dict, List, Optional, Sequence, Union

from .enginelog import EngineLog
from .failure import LAST_LINES, last_lines
from .kernel import Kernel
from .process import Exit, Process, Spawn

CANCEL_SECONDS = 2.0  # between SIGTERM and SIGKILL when a command must end
DRAIN_SECONDS = 0.5  # for output that is still in the pipe when the command has ended
PIECE = 64 * 1024  # bytes read at a time


@dataclass(frozen=True)
class Outcome:
    """How a command ended. `exit` is None when its time was over."""

    exit: Optional[Exit]
    last_lines: Sequence[str]

    @property
    def ok(self) -> bool:
        return self.exit is not None and self.exit.status == 0


class Commands:
    """Runs commands for one job; all of them bear the job's mark."""

    def __init__(self, kernel: Kernel, log: EngineLog, mark: str) -> None:
        self._kernel = kernel
        self._log = log
        self._mark = mark

    async def run(
        self,
        command: Union[str, List[str]],
        folder: Path,
        environment: Dict[str, str],
        seconds: float,
        inherit: Sequence[int] = (),
    ) -> Outcome:
        """Runs it to its end, at most `seconds`. `inherit`: descriptors that it shall hold open as well.

        OSError when it cannot be started at all. What it leaves running in the background goes on.
        """
        reading, writing = os.pipe()
        try:
            process = Process.start(
                self._kernel, Spawn(command, folder, environment, self._mark, writing, tuple(inherit))
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        tail: Deque[bytes] = deque(maxlen=LAST_LINES + 1)
        output = asyncio.ensure_future(self._follow(reading, tail))
        try:
            ended = await process.wait(seconds)
            if ended:
                await asyncio.wait([output], timeout=DRAIN_SECONDS)
        finally:
            if process.alive:
                await asyncio.shield(process.stop(CANCEL_SECONDS))
            output.cancel()
            await asyncio.wait([output])
        return Outcome(process.exit if ended else None, last_lines(b"\n".join(tail)))

    async def _follow(self, descriptor: int, tail: Deque[bytes]) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        rest = b""
        try:
            while True:
                data = await reader.read(PIECE)
                if not data:
                    break
                self._log.raw(data)
                *lines, rest = (rest + data).split(b"\n")
                tail.extend(lines)
                rest = rest[-PIECE:]
        finally:
            if rest:
                tail.append(rest)
                self._log.raw(b"\n")
            transport.close()
