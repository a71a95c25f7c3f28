"""Processes as children of the agent: they outlive it, the next agent finds them by what is written down or their mark.

This is how a machine without systemd, or without root, runs applications.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

from .entry import Entry
from .kernel import Kernel
from .orphans import end_marked
from .process import Process, Spawn
from .runner import OOM_RAISED, SWEEP_SECONDS, Order, Tell


class Children:
    """Of this agent or an earlier one."""

    def __init__(self, kernel: Kernel) -> None:
        self.own: Mapping[str, str] = os.environ
        self._kernel = kernel

    async def check(self) -> Dict[str, Any]:
        return {}

    async def entrust(self, folders: Sequence[Path]) -> None:
        """They run as the agent does, which made these."""

    async def take_over(self, known: Sequence[Entry]) -> None:
        """What nobody knows has a mark, by which the supervisor ends it."""

    async def start(self, order: Order) -> Process:
        output = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            spawn = Spawn(order.command, order.folder, order.environment, order.mark, output)
            process = Process.start(self._kernel, spawn)
        finally:
            os.close(output)
        pid = process.identity.pid
        base = self._kernel.oom_score(pid) if order.raised else None
        if base is not None and base < OOM_RAISED and self._kernel.set_oom_score(pid, OOM_RAISED):
            process.oom_base = base
        return process

    async def adopt(self, entry: Entry) -> Optional[Process]:
        """As it was written down, or by its mark when there was no time for that."""
        identity = entry.identity
        if identity is None and entry.mark:
            leaders = [pid for pid in self._kernel.marked(entry.mark) if self._kernel.leads(pid)]
            identity = self._kernel.identity(leaders[0]) if leaders else None
        process = Process.adopt(self._kernel, identity, entry.mark) if identity is not None else None
        if process is None:
            # What a leader left behind would hold the port.
            await end_marked(self._kernel, [entry.mark])
        return process

    async def prove(self, entry: Entry) -> None:
        """The supervisor starts it again."""

    async def unboot(self, kept: Sequence[Entry]) -> None:
        """None does: whoever starts the agent then starts the boot target by that."""

    async def boot(self, entries: Sequence[Entry]) -> None:
        """As `unboot`."""

    async def clear(self, entry: Entry, process: Process) -> None:
        await process.stop(SWEEP_SECONDS)

    async def again(self, entry: Entry, died: Optional[Process], begun: bool, tell: Tell) -> Optional[Process]:
        if died is None:
            if begun:  # otherwise it ended with its agent, as somebody wanted
                tell("WARN", "had ended while no agent watched it; it is started again")
                entry.restarts += 1
            return None
        up = time.time() - (entry.started_at or 0.0)
        delay = entry.next_delay(up)
        tell("WARN", f"ended after {up:.0f} s ({died.end}); it is started again in {delay:.0f} s")
        entry.restarts += 1
        await asyncio.sleep(delay)
        return None

    async def end(self, entry: Entry, process: Optional[Process], grace: float) -> bool:
        return await process.stop(grace) if process is not None else False

    async def forget(self, entries: Sequence[Entry]) -> None:
        """Nothing of an ended child is left."""
