"""The end of a unit whose port has gone over to somebody else: at a moment at which nobody waits for an answer of it.

Its processes are stopped for some milliseconds, looked at, and let go on if one of them has a question to answer. If
none has, they are told to end before they go on; their clients' connections do not end with them, because we have them
as well. The next question is kept from them, for they might read it and not live to answer it. A connection on which
the unit says something after that was ended by the unit, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any, Dict, List

from .borrowed import OPEN, Borrowed, borrow
from .kernel import Kernel
from .relay import Relays
from .systemd import Systemd
from .turn import Turn

LOOK_SECONDS = 0.002  # between looks at the conversations: most answers take longer
SCAN_SECONDS = 0.1  # between looks for new ones, which come from the queue alone
FREEZE_SECONDS = 0.1  # for processes to be stopped, which takes microseconds unless one hangs in the kernel
PAUSE_SECONDS = 0.02  # after a freeze that was in vain
TOLD_SECONDS = 2.0  # for systemd to tell them to end
STOP_SECONDS = 90.0  # for them to do so, before they are killed: systemd's own default


class Conversation:
    def __init__(self, borrowed: Borrowed) -> None:
        self.borrowed = borrowed
        self.turn = Turn(borrowed.pulse())
        self._told = borrowed.pulse()

    def tell(self) -> None:
        """The unit is about to be told to end."""
        if self.turn.interruptible:
            self.borrowed.withhold()
        self._told = self.borrowed.pulse()

    @property
    def spoken(self) -> bool:
        """Whether the unit said something since it was told to end."""
        return self.borrowed.pulse().sent != self._told.sent

    @property
    def heard(self) -> bool:
        """Whether the unit took something in since it was told to end."""
        return self.borrowed.pulse().read != self._told.read


class UnitEnd:
    def __init__(
        self, systemd: Systemd, kernel: Kernel, unit: str, port: int, listening: List[Borrowed], relays: Relays
    ) -> None:
        self._systemd = systemd
        self._kernel = kernel
        self._unit = unit
        self._port = port
        self._listening = listening
        self._relays = relays
        self._open: Dict[str, Conversation] = {}

    async def run(self, seconds: float) -> Dict[str, Any]:
        """→ {"waited": seconds, "kept": connections that go on, "cut": requests that got no whole answer}."""
        begun = time.monotonic()
        pids = await self._systemd.pids(self._unit)
        scanned = 0.0
        try:
            while True:
                now = time.monotonic()
                if now - scanned >= SCAN_SECONDS:
                    pids, scanned = await self._systemd.pids(self._unit), time.monotonic()
                    self._scan(pids)
                self._look()
                over = now - begun >= seconds
                if not pids or ((over or self._interruptible) and await self._frozen(pids, whatever=over)):
                    break
                await asyncio.sleep(LOOK_SECONDS)
            waited = time.monotonic() - begun
            kept, cut = await self._end(pids)
        finally:
            _signal(pids, signal.SIGCONT)
            for each in self._open.values():
                each.borrowed.socket.close()
        return {"waited": round(waited, 2), "kept": kept, "cut": cut}

    def _scan(self, pids: List[int]) -> None:
        for borrowed in borrow(pids, self._port, OPEN, self._open):
            self._open[borrowed.inode] = Conversation(borrowed)

    def _look(self) -> None:
        for inode, each in list(self._open.items()):
            if each.borrowed.held:
                each.turn.see(each.borrowed.pulse())
            else:  # the unit has ended it, and its client shall see that
                each.borrowed.socket.close()
                del self._open[inode]

    @property
    def _interruptible(self) -> bool:
        return not any(each.waiting for each in self._listening) and all(
            each.turn.interruptible for each in self._open.values()
        )

    async def _frozen(self, pids: List[int], whatever: bool) -> bool:
        """Whether they are stopped now, with nothing to answer unless `whatever`. Otherwise they go on."""
        _signal(pids, signal.SIGSTOP)
        looks = int(FREEZE_SECONDS / LOOK_SECONDS)
        for _ in range(looks):
            if all(_stopped(pid) for pid in pids):
                break
            await asyncio.sleep(LOOK_SECONDS)
        self._scan(pids)
        self._look()
        if whatever or (all(_stopped(pid) for pid in pids) and self._interruptible):
            return True
        _signal(pids, signal.SIGCONT)
        await asyncio.sleep(PAUSE_SECONDS)
        return False

    async def _end(self, pids: List[int]) -> "tuple[int, int]":
        """They end. How many connections go on through us, and how many requests were cut."""
        for each in self._open.values():
            each.tell()
        waiting = {inode for inode, each in self._open.items() if not each.turn.interruptible}
        stopping = asyncio.ensure_future(self._systemd.stop(self._unit, STOP_SECONDS))
        limit = time.monotonic() + TOLD_SECONDS
        told = False
        while not stopping.done():
            if not told and (time.monotonic() > limit or await self._ends()):
                told = True
                _signal(pids, signal.SIGCONT)  # systemd does that, too; ExecStop= comes before
            for inode, each in list(self._open.items()):
                if each.spoken and not each.borrowed.held:
                    waiting.discard(inode)
                    each.borrowed.socket.close()
                    del self._open[inode]
            await asyncio.sleep(LOOK_SECONDS)
        await stopping
        kept = []
        for inode, each in self._open.items():
            if each.heard and not each.spoken:
                waiting.add(inode)
            elif inode not in waiting and not each.spoken:
                each.borrowed.withhold(1)
                kept.append(each.borrowed.socket.dup())
        self._relays.take(kept)
        return len(kept), len(waiting)

    async def _ends(self) -> bool:
        facts = await self._systemd.show(self._unit)
        return facts.ending or not facts.runs


def _signal(pids: List[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _stopped(pid: int) -> bool:
    """Every thread of it, or it is gone."""
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            if (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "TtZX":
                return False
    except OSError:
        return not Path(f"/proc/{pid}").exists()
    return True
