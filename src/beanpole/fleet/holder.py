"""The process that has an agent's folder, when it does not answer: who it is, whether it ever can, and its end.

A folder belongs to whoever holds the lock on its `agent.lock`; its pid stands in that file. Nothing is signalled unless
that process's command line is that of an agent of this very folder, and nothing that started later under its pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from pathlib import Path

from beanpole.agent.kernel import Identity, this_kernel

TERM_SECONDS = 2.0
"""For SIGTERM to do: an agent that can do anything at all ends within a second, and its jobs are found again anyway."""

KILL_SECONDS = 5.0
"""For SIGKILL to do; what outlives that hangs in the kernel."""

LOOK = 0.02
"""Seconds between looks; a lock cannot be awaited."""


class NotOurs(Exception):
    """The folder is held by a process that is not known to be its agent, or that cannot be ended. Says who."""


class Holder:
    """Whoever holds one folder at the moment."""

    def __init__(self, home: Path) -> None:
        self._lock = home / "agent.lock"
        # As the agent is started, see DetachedAgent: of another folder, no agent's command line has these words.
        self._words = f" run --home {home} --socket "
        self._home = home
        self._kernel = this_kernel()

    def present(self) -> bool:
        """Whether somebody has the folder: an agent holds its lock for as long as it lives."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def stopped(self) -> bool:
        """Whether it was stopped by a signal or a debugger, so that it cannot answer anybody."""
        pid = self._pid()
        return pid is not None and self._kernel.stopped(pid)

    async def gone(self, seconds: float) -> bool:
        """True as soon as nobody has the folder and the agent that had it is no more, False after that time."""
        limit = asyncio.get_running_loop().time() + seconds
        agent = self._agent()  # it gives the lock back a moment before its process ends
        while self.present() or (agent is not None and self._kernel.alive(agent)):
            if asyncio.get_running_loop().time() > limit:
                return False
            await asyncio.sleep(LOOK)
        return True

    async def end(self) -> None:
        """End the agent, not what it keeps running; nobody has the folder when this returns. NotOurs."""
        agent = self._agent()
        for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            # It may end by itself at any moment, and its pid become somebody else's.
            if agent is not None and self._kernel.alive(agent):
                try:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(agent.pid, number)
                except PermissionError as error:
                    raise NotOurs(f"process {agent.pid} has {self._home} and belongs to another user") from error
            if await self.gone(seconds):
                return
        raise NotOurs(
            f"{self._home} is held by {self._who()}, "
            + ("which does not end" if agent is not None else "which is no agent of ours: end it")
        )

    def _agent(self) -> Identity | None:
        """Who had the lock last, if that is an agent of this folder beyond doubt."""
        pid = self._pid()
        identity = self._kernel.identity(pid) if pid is not None else None
        if identity is None:
            return None
        return identity if self._words in self._kernel.command_line(identity.pid) else None

    def _pid(self) -> int | None:
        try:
            text = self._lock.read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None

    def _who(self) -> str:
        pid = self._pid()
        return f"process {pid} ({self._kernel.command(pid) or 'gone'})" if pid is not None else "an unknown process"
