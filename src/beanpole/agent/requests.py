"""Reads Envoy's access logs as they grow and keeps what they say counted, also over restarts of the agent.

Every line is counted once: how far each file was read is stored in the same file as the totals. Files are known by
their inode, so a rotation (rename, then Envoy opens a new one) loses nothing: all of them are read to their ends.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import durable
from .admin import AdminError
from .events import EventLog
from .generation import LOG_FLUSH_MS, Generation
from .rotation import SIZE_LIMIT, rotate
from .tally import RING_SECONDS, Tallies, lines_of

READ_SECONDS = 2.0  # between readings when nobody asks
STORE_SECONDS = 10.0  # between storings; what was read since is read again after a crash
PIECE = 1024 * 1024  # bytes read at a time
LOOK_BACK = 8 * 1024 * 1024  # bytes of each file that are searched for the last seconds when the agent starts
ROTATE_BYTES = 50 * 1024 * 1024  # some 200,000 requests
FILES_KEPT = 4  # access logs that Envoy no longer writes
SETTLED_SECONDS = 60.0  # after which nobody writes to a log that was rotated away
LATE_SECONDS = 0.5 + LOG_FLUSH_MS / 1000  # after its end, a second's lines are all in the file


class Requests:
    """The access logs `log/access-*.log` of that home."""

    def __init__(self, home: Path, generations: Callable[[], List[Generation]], events: EventLog) -> None:
        self._folder = home / "log"
        self._record = home / "requests.json"
        self._generations = generations
        self._events = events
        self._tallies = Tallies()
        self._offsets: Dict[int, int] = {}  # inode → bytes that are counted
        self._stored = 0.0
        self._changed = False
        self._trouble = ""  # told last, so that a full disk is told once and not every few seconds
        self._lock: Optional[asyncio.Lock] = None
        self._task: "Optional[asyncio.Task[None]]" = None

    async def start(self) -> None:
        """Takes up the counting where the last agent stored it."""
        self._lock = asyncio.Lock()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            record = durable.read_json(self._record)
        except durable.Damaged as error:
            # Counts are no reason to serve nothing. The logs that are still there are counted again.
            self._events.add("WARN", f"requests are counted anew: {error}")
            record = None
        if record is not None:
            self._tallies.totals = record["totals"]
            self._offsets = {int(inode): offset for inode, offset in record["offsets"].items()}
        await asyncio.to_thread(self._remember)
        self._task = asyncio.get_running_loop().create_task(self._reading())

    async def stop(self) -> None:
        if self._task is None or self._lock is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        async with self._lock:
            try:
                await asyncio.to_thread(self._read)
                self._store()
            except OSError as error:  # a full disk must not keep the agent from ending; the next one counts on
                self._tell(f"the counts of requests cannot be written: {error}")

    async def since(self, after: int) -> Dict[str, Any]:
        """What ended in complete seconds later than `after`, and the totals of all that is in the logs by now."""
        if self._lock is None:
            return self._tallies.since(after)
        async with self._lock:
            await asyncio.to_thread(self._read)
            return self._tallies.since(after)

    async def _reading(self) -> None:
        while self._lock is not None:
            try:
                async with self._lock:
                    await asyncio.to_thread(self._read)
                    await self._rotate()  # first: on a full disk this may make the room for the rest
                    if self._changed and time.monotonic() - self._stored > STORE_SECONDS:
                        self._store()
                        self._trouble = ""
            except OSError as error:
                self._tell(f"the access log cannot be counted: {error}")
                await asyncio.sleep(STORE_SECONDS)
            await asyncio.sleep(READ_SECONDS)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._events.add("ERROR", trouble)
        self._trouble = trouble

    def _read(self) -> None:
        """Counts whatever the files have more. Lines that are not complete yet wait for the next time."""
        second = int(time.time() - LATE_SECONDS) - 1
        for path in self._files():
            with path.open("rb") as file:
                inode = path.stat().st_ino
                offset = self._offsets.get(inode, 0)
                file.seek(offset)
                rest = b""
                while True:
                    piece = file.read(PIECE)
                    if not piece:
                        break
                    lines, used = lines_of(rest + piece)
                    rest = (rest + piece)[used:]
                    self._tallies.add(lines)
                    offset += used
                    self._offsets[inode] = offset
                    self._changed = True
        self._tallies.finish(second)

    def _remember(self) -> None:
        """Fills the last seconds with what was counted before this agent started."""
        since = int(time.time()) - RING_SECONDS
        for path in self._files():
            end = self._offsets.get(path.stat().st_ino, 0)
            with path.open("rb") as file:
                file.seek(max(0, end - LOOK_BACK))
                lines, _ = lines_of(file.read(min(end, LOOK_BACK)))
            self._tallies.remember(lines, since)

    def _store(self) -> None:
        present = {path.stat().st_ino for path in self._files()}
        self._offsets = {inode: offset for inode, offset in self._offsets.items() if inode in present}
        offsets = {str(inode): offset for inode, offset in self._offsets.items()}
        durable.write_json(self._record, {"totals": self._tallies.totals, "offsets": offsets})
        self._stored = time.monotonic()
        self._changed = False

    async def _rotate(self) -> None:
        """Starts a new file where one is too large; Envoy writes to the renamed one until it has opened the new one."""
        writing = set()
        for generation in self._generations():
            path = self._folder / f"access-{generation.number}.log"
            writing.add(path)
            if not path.exists() or path.stat().st_size < ROTATE_BYTES:
                continue
            path.rename(self._folder / f"access-{generation.number}.{time.time_ns() // 1_000_000}.log")
            try:
                await generation.admin.post("/reopen_logs")
            except AdminError as error:
                self._events.add("WARN", f"Envoy did not reopen its access log: {error}")
        for path in self._folder.glob("envoy-*.log"):
            if path.stat().st_size > SIZE_LIMIT and not rotate(path):
                self._events.add("WARN", f"the disk is full: the lines of {path.name} are lost")
        settled = time.time() - SETTLED_SECONDS
        done = [path for path in self._files() if path not in writing and path.stat().st_mtime < settled]
        for path in sorted(done, key=lambda path: path.stat().st_mtime)[:-FILES_KEPT]:
            path.unlink()

    def _files(self) -> List[Path]:
        return sorted(self._folder.glob("access-*.log"))
