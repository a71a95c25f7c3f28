"""Ends processes that bear a mark of ours and belong to nothing any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import Dict, Iterable

from .kernel import Identity, Kernel

GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL: nobody waits for the result of an orphan
LOOK_SECONDS = 0.02  # between looks whether they are gone


async def end_marked(kernel: Kernel, marks: Iterable[str]) -> int:
    """Ends what bears one of these marks, and the rest of the groups that such processes lead. How many there were."""
    strays: Dict[int, Identity] = {}
    for mark in filter(None, marks):  # what was never started has none
        for pid in kernel.marked(mark):
            for member in [pid, *(kernel.group(pid) if kernel.leads(pid) else [])]:
                identity = kernel.identity(member)
                if identity is not None:
                    strays[member] = identity
    for number in (signal.SIGTERM, signal.SIGKILL):
        for identity in strays.values():
            if kernel.alive(identity):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(identity.pid, number)
        limit = time.monotonic() + GRACE_SECONDS
        while any(kernel.alive(identity) for identity in strays.values()):
            if time.monotonic() >= limit:
                break
            await asyncio.sleep(LOOK_SECONDS)
    return len(strays)
