"""One process group that the agent started or found again: is it alive, how did it end, end it.

Each process leads its own session. Its end is noticed at once, through a pidfd where the system has them. Nothing is
ever signalled by a pid alone: the start time must fit, and a group without its leader only while we never lost sight.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .deadline import within
from .kernel import MARK, Identity, Kernel
from .shell import shell_line

POLL_SECONDS = 1.0  # between looks at an adopted process, where the system has no pidfd
GROUP_SECONDS = 0.02  # between looks whether a signalled group is gone; a stop is usually over within a few of them
KILL_SECONDS = 5.0  # after SIGKILL only a process in an uninterruptible wait remains
UMASK = 0o022  # the agent's own is 077, which would surprise applications


@dataclass(frozen=True)
class Exit:
    """How a process ended. `status` is None when a signal ended it or when nobody can know (it was adopted)."""

    status: Optional[int]
    signal: Optional[int]
    at: float

    @classmethod
    def of(cls, returncode: Optional[int]) -> Exit:
        """From what `subprocess` calls a return code; None: unknown."""
        if returncode is None or returncode >= 0:
            return cls(returncode, None, time.time())
        return cls(None, -returncode, time.time())

    @property
    def words(self) -> str:
        """`exit status 3`, `signal SIGKILL`, or `unknown`."""
        if self.signal is not None:
            try:
                return f"signal {signal.Signals(self.signal).name}"
            except ValueError:
                return f"signal {self.signal}"
        return "unknown" if self.status is None else f"exit status {self.status}"

    def record(self) -> Dict[str, Any]:
        return {"status": self.status, "signal": self.signal, "at": self.at, "words": self.words}


@dataclass(frozen=True)
class Spawn:
    """What to start: a command line for `sh` (text) or words; where; with which variables; where its output goes."""

    command: "str | List[str]"
    folder: Path
    environment: Dict[str, str]
    mark: str
    output: int
    inherit: Tuple[int, ...] = ()  # further descriptors that it holds open


class Process:
    """A group with a leader. `ended` is set, and `exit` known, as soon as the leader is no more."""

    def __init__(
        self, kernel: Kernel, identity: Identity, mark: str, child: "Optional[subprocess.Popen[bytes]]" = None
    ) -> None:
        self.identity = identity
        self.mark = mark
        self.ended = asyncio.Event()
        self.exit: Optional[Exit] = None
        self.oom_base: Optional[int] = None  # the OOM score before it was raised, if it was
        self._kernel = kernel
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._watch: Optional["asyncio.Task[None]"] = None
        self._over = False  # nothing of the group is left, so its number may be somebody else's by now

    @classmethod
    def start(cls, kernel: Kernel, spawn: Spawn) -> Process:
        """Starts it. OSError when the folder or a program given as words cannot be used."""
        command = spawn.command
        words = ["/bin/sh", "-c", shell_line(command)] if isinstance(command, str) else command
        child = subprocess.Popen(
            words,
            cwd=spawn.folder,
            env={**spawn.environment, MARK: spawn.mark},
            stdin=subprocess.DEVNULL,
            stdout=spawn.output,
            stderr=spawn.output,
            pass_fds=spawn.inherit,
            start_new_session=True,
            umask=UMASK,
        )
        # A child that ended already has left its pid to us until it is reaped; without a start time it counts as ended.
        identity = kernel.identity(child.pid) or Identity(child.pid, "ended", kernel.boot)
        process = cls(kernel, identity, spawn.mark, child)
        process._begin()
        return process

    @classmethod
    def adopt(cls, kernel: Kernel, identity: Identity, mark: str) -> Optional[Process]:
        """Watches a process of an earlier agent. None when it is gone."""
        process = cls(kernel, identity, mark)
        process._begin()
        if not kernel.alive(identity):
            process.release()
            return None
        return process

    @property
    def alive(self) -> bool:
        return not self.ended.is_set()

    @property
    def end(self) -> str:
        """How it ended, in words."""
        return self.exit.words if self.exit is not None else "unknown"

    def release(self) -> None:
        """Stops watching; the process goes on."""
        if self._watch is not None:
            self._watch.cancel()

    def members(self) -> List[int]:
        """The living processes of the group, and those that left it for a group of their own but bear its mark."""
        members = self._kernel.group(self.identity.pid)
        return members or list(self._kernel.marked(self.mark))

    async def wait(self, seconds: float) -> bool:
        """True as soon as the leader has ended, False after that time."""
        if seconds <= 0:
            return self.ended.is_set()
        try:
            await within(seconds, self.ended.wait())
        except asyncio.TimeoutError:
            return False
        return True

    async def stop(self, grace: float) -> bool:
        """Ends the whole group: SIGTERM, and SIGKILL for what is left after `grace` seconds. True when that was needed.

        OSError when something outlives even SIGKILL.
        """
        self._signal(signal.SIGTERM)
        if await self._gone(grace):
            return False
        self._signal(signal.SIGKILL)
        if not await self._gone(KILL_SECONDS):
            raise OSError(f"process {self.identity.pid} outlives SIGKILL: it hangs in the kernel (a dead disk?)")
        return True

    async def _gone(self, seconds: float) -> bool:
        limit = time.monotonic() + seconds
        await self.wait(seconds)
        while self.alive or self.members():
            if time.monotonic() >= limit:
                return False
            await asyncio.sleep(GROUP_SECONDS)
        self._over = True
        return True

    def _signal(self, number: signal.Signals) -> None:
        ours = self._child is not None or not self.alive or self._kernel.alive(self.identity)
        if self._over or not ours:
            return
        # All are looked for before anybody is told. To some programs a second SIGTERM says: at once, drop what you do;
        # and what is started because of the first, to leave in good order, must get none at all.
        strays = set(self._kernel.marked(self.mark)).difference(self._kernel.group(self.identity.pid))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.identity.pid, number)
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _begin(self) -> None:
        self._watch = self._loop.create_task(self._watching())

    async def _watching(self) -> None:
        code = await (self._by_pidfd() if hasattr(os, "pidfd_open") else self._by_other_means())
        self.exit = await self._end_of(code)
        self.ended.set()

    async def _end_of(self, code: Optional[int]) -> Exit:
        """What is known of the end when a child's return code is this, or unknown."""
        return Exit.of(code)

    async def _by_pidfd(self) -> Optional[int]:
        pid = self.identity.pid
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return self._reap()
        except OSError:  # an older kernel than the one Python was built for
            return await self._by_other_means()
        try:
            if self._child is None and not self._kernel.alive(self.identity):
                return None
            ready = asyncio.Event()
            self._loop.add_reader(descriptor, ready.set)
            try:
                await ready.wait()
            finally:
                self._loop.remove_reader(descriptor)
        finally:
            os.close(descriptor)
        return self._reap()

    async def _by_other_means(self) -> Optional[int]:
        child = self._child
        if child is None:
            while self._kernel.alive(self.identity):  # noqa: ASYNC110 (nothing tells us of a stranger's end)
                await asyncio.sleep(POLL_SECONDS)
            return None
        done = asyncio.Event()

        def wait() -> None:
            child.wait()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the agent has ended, nobody wants to know
                self._loop.call_soon_threadsafe(done.set)

        threading.Thread(target=wait, daemon=True, name=f"wait-{child.pid}").start()
        await done.wait()
        return child.returncode

    def _reap(self) -> Optional[int]:
        return None if self._child is None else self._child.wait()
