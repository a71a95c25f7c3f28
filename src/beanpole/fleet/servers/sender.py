"""The near end of a transfer: speaks with `agent.pyz receive` (whose docstring has the protocol) over one connection.

A thread reads and compresses while the loop encrypts and sends: no more than a few pieces are in memory at any time.
After a cut it connects anew and goes on with what the server has, as long as connections get anything across.
"""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from beanpole.fleet.servers.connection import Connection
from beanpole.fleet.servers.failure import (
    ConnectionFailed,
    Dropped,
    HostKeyChanged,
    HostKeyUnknown,
    LoginRefused,
    Overdue,
    ProgramFailed,
    Unreachable,
)
from beanpole.fleet.servers.transfer import Destination, OnProgress, Sent, TransferFailed

PIECE = 256 * 1024  # bytes that are compressed at a time; the far end takes up to 1 MiB
AHEAD = 4  # pieces that wait for the network
LEVEL = 1  # of zlib: 36 MB/s to 38 % for a big program, where level 6 makes 9 MB/s to 34 %
SAMPLE = 64 * 1024  # bytes by which a file shows whether it can be compressed
WORTH = 0.95  # of its size, at most, that a sample must shrink to
STALL_SECONDS = 60.0  # without the network taking, or the server telling, anything
SERVER_SECONDS = 120.0  # for the server to check what it has, and to end
MARGIN = 16 * 1024 * 1024  # bytes that must stay free there
LINE_LIMIT = 64 * 1024 * 1024  # bytes of its first answer
STUCK_LIMIT = 3  # connections in a row that got nothing across
_LENGTH = struct.Struct(">I")
_KINDS: tuple[tuple[type[ConnectionFailed], str], ...] = (
    (Unreachable, "unreachable"), (Dropped, "dropped"), (Overdue, "overdue"), (HostKeyChanged, "host key"),
    (HostKeyUnknown, "host key"), (LoginRefused, "refused"), (ProgramFailed, "program"),
)  # fmt: skip

File = tuple[Path, str, int]  # path here, SHA-256, size


async def deliver(
    destination: Destination, files: Sequence[File], on_progress: OnProgress, kept: Connection | None = None
) -> Sent:
    """Sends what the server lacks. TransferFailed. `kept`: a connection to it that others use too, and that stays."""
    connection = kept or Connection(destination.address, destination.host_key)
    account = _Account(on_progress)
    stuck = 0
    try:
        while True:
            before = account.stored, account.left
            try:
                await _Visit(connection, destination, files, account).make()
            except Dropped:
                # What a visit got across of a file that was cut shows at the beginning of the next one.
                stuck = stuck + 1 if (account.stored, account.left) == before else 0
                if stuck >= STUCK_LIMIT:
                    raise
            else:
                return Sent(account.sent, account.skipped, account.wire)
    except ConnectionFailed as error:
        kind = next((kind for failure, kind in _KINDS if isinstance(error, failure)), "refused")
        raise TransferFailed(error.cause, error.remedy, kind) from error
    finally:
        if connection is not kept:
            await connection.close()


@dataclass
class _Account:
    """What was done so far, over all visits."""

    on_progress: OnProgress
    sent: int = 0
    wire: int = 0
    skipped: int = 0
    stored: int = 0
    damaged: set[str] = field(default_factory=set)
    done: int = 0
    total: int = 0
    left: int | None = None  # bytes that were missing when the newest visit began

    def begin(self, wanted: int, missing: int, left: int) -> None:
        """A visit begins: so many files are missing, of which so many bytes are not there."""
        if self.left is None:
            self.skipped, self.total = wanted - missing, left
        self.done = max(0, self.total - left)
        self.left = left

    def went(self, amount: int, wire: int, path: Path) -> None:
        self.sent += amount
        self.wire += wire
        self.done = min(self.done + amount, self.total)
        self.on_progress(self.done, self.total, str(path))


class _Visit:
    """One process `receive`, from its start to its end or to the cut."""

    def __init__(
        self, connection: Connection, destination: Destination, files: Sequence[File], account: _Account
    ) -> None:
        self._connection = connection
        self._host = str(destination.address)
        words = (destination.python, "-I", destination.program, "receive", "--root", destination.root)
        self._words = (*destination.become, *words)
        self._root = destination.root
        self._files = {sha256: (path, sha256, size) for path, sha256, size in files}
        self._account = account
        self._compressor = zlib.compressobj(LEVEL)
        self._came = bytearray()  # of the server's next answers

    async def make(self) -> None:
        """Dropped when it was cut; other ConnectionFailed; TransferFailed."""
        if not self._files:
            return
        process = await self._connection.process(self._words)
        try:
            missing = await self._ask(process)
            again = await self._send(process, missing)
            if again:
                # Parts that a crash there has damaged: they begin anew, once.
                self._account.damaged.update(again)
                await self._send(process, [(sha256, 0) for sha256 in again])
            process.stdin.write_eof()
            async with asyncio.timeout(SERVER_SECONDS):
                await process.wait_closed()
        except TimeoutError as error:
            raise Overdue(f"{self._host} took nothing for {STALL_SECONDS:g} s", "Try again: it goes on.") from error
        except (asyncssh.Error, BrokenPipeError, ConnectionResetError) as error:
            raise await self._ended(process, str(error)) from error
        finally:
            process.close()

    async def _ask(self, process: asyncssh.SSHClientProcess[bytes]) -> list[tuple[str, int]]:
        wanted = [[sha256, size] for _, sha256, size in self._files.values()]
        process.stdin.write(json.dumps({"wanted": wanted}).encode() + b"\n")
        async with asyncio.timeout(SERVER_SECONDS):
            await process.stdin.drain()
            answer = await self._line(process)
        missing = [(sha256, int(offset)) for sha256, offset in answer["missing"] if sha256 in self._files]
        left = sum(self._files[sha256][2] - offset for sha256, offset in missing)
        self._account.begin(len(wanted), len(missing), left)
        if left and answer["free"] < left + MARGIN:
            cause = f"{self._host}: the disk of {self._root} has {answer['free']} bytes free; {left} are to be sent"
            raise TransferFailed(cause, f"Free {left + MARGIN - answer['free']} bytes there.", "disk full")
        return missing

    async def _send(self, process: asyncssh.SSHClientProcess[bytes], missing: list[tuple[str, int]]) -> list[str]:
        """Sends these files. Those that the server found damaged and wants once more."""
        answers = asyncio.create_task(self._answers(process, len(missing)))
        sending = asyncio.create_task(self._pieces(process, missing))
        try:
            await asyncio.wait((answers, sending), return_when=asyncio.FIRST_EXCEPTION)
            if sending.done() and isinstance(sending.exception(), (TransferFailed, TimeoutError)):
                sending.result()
            # If sending failed otherwise, what the server says last explains it.
            async with asyncio.timeout(SERVER_SECONDS):
                return await answers
        finally:
            for task in (answers, sending):
                task.cancel()
            await asyncio.wait((answers, sending))
            for task in (answers, sending):
                if not task.cancelled():
                    task.exception()  # told above, or a consequence of that

    async def _pieces(self, process: asyncssh.SSHClientProcess[bytes], missing: list[tuple[str, int]]) -> None:
        waiting: asyncio.Queue[tuple[bytes, int, Path] | Exception | None] = asyncio.Queue(AHEAD)
        loop = asyncio.get_running_loop()
        enough = threading.Event()

        def read() -> None:
            try:
                for sha256, offset in missing:
                    for piece in self._encoded(self._files[sha256], offset):
                        if enough.is_set():
                            return
                        asyncio.run_coroutine_threadsafe(waiting.put(piece), loop).result(STALL_SECONDS * 2)
                last: Exception | None = None
            except TransferFailed as error:
                last = error
            asyncio.run_coroutine_threadsafe(waiting.put(last), loop).result(STALL_SECONDS * 2)

        reading = asyncio.create_task(asyncio.to_thread(read))
        try:
            while (item := await waiting.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                data, amount, path = item
                async with asyncio.timeout(STALL_SECONDS):
                    process.stdin.write(data)
                    await process.stdin.drain()
                self._account.went(amount, len(data), path)
        finally:
            enough.set()
            while not reading.done():
                while not waiting.empty():
                    waiting.get_nowait()
                await asyncio.wait((reading,), timeout=0.05)
            reading.result()

    def _encoded(self, file: File, offset: int) -> Iterator[tuple[bytes, int, Path]]:
        """What goes over the wire for a file, with the bytes of content in it."""
        path, sha256, size = file
        head = {"sha256": sha256, "size": size, "offset": offset}
        left = size - offset
        try:
            with path.open("rb") as source:
                source.seek(offset)
                data = source.read(min(PIECE, left))
                squeeze = len(zlib.compress(data[:SAMPLE], LEVEL)) < WORTH * len(data[:SAMPLE])
                before = json.dumps({**head, **({"encoding": "zlib"} if squeeze else {})}).encode() + b"\n"
                while data:
                    left -= len(data)
                    yield before + (self._squeezed(data) if squeeze else data), len(data), path
                    before = b""
                    data = source.read(min(PIECE, left))
        except OSError as error:
            raise TransferFailed(f"{path} cannot be read: {error.strerror}", "Restore the file.", "source") from error
        if before:
            yield before, 0, path  # an empty file
        if left:
            raise TransferFailed(f"{path} is {left} bytes shorter than it was", "Restore the file.", "source")

    def _squeezed(self, data: bytes) -> bytes:
        squeezed = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return _LENGTH.pack(len(squeezed)) + squeezed

    async def _answers(self, process: asyncssh.SSHClientProcess[bytes], amount: int) -> list[str]:
        again = []
        for _ in range(amount):
            answer = await self._line(process)
            if "stored" in answer:
                self._account.stored += 1
            elif answer["kind"] in ("damaged", "stale") and answer["sha256"] not in self._account.damaged:
                again.append(answer["sha256"])
            else:
                raise self._fault(answer)
        return again

    async def _line(self, process: asyncssh.SSHClientProcess[bytes]) -> dict[str, Any]:
        # By hand: asyncssh gives up on lines that are longer than its window.
        while b"\n" not in self._came:
            data = await process.stdout.read(PIECE)
            if not data or len(self._came) > LINE_LIMIT:
                raise await self._ended(process, "the session ended")
            self._came += data
        line, _, self._came = self._came.partition(b"\n")
        try:
            return dict(json.loads(line))
        except ValueError as error:
            said = line[:200].decode("utf-8", "replace").strip()
            cause = f"{self._host}: something else than the agent's program speaks there: {said!r}"
            remedy = "The user's shell must print nothing when no terminal is there: look at its start files."
            raise ProgramFailed(cause, remedy) from error

    def _fault(self, answer: dict[str, Any]) -> TransferFailed:
        kind = str(answer["kind"])
        if kind == "damaged":
            path = self._files[answer["sha256"]][0]
            cause = f"{path} does not have the content that its name promises: {answer['error']}"
            return TransferFailed(cause, f"Remove {path} and make it anew.", kind)
        cause = f"{self._host}: {self._root} cannot be written to: {answer['error']}"
        return TransferFailed(cause, "Free space there." if kind == "disk full" else "Look at that disk.", kind)

    async def _ended(self, process: asyncssh.SSHClientProcess[bytes], why: str) -> ConnectionFailed:
        """Why the process there is gone: it says so itself, or the connection is."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                said = (await process.stderr.read(4096)).decode("utf-8", "replace").strip()[-400:]
                await process.wait_closed()
        except (TimeoutError, asyncssh.Error, OSError):
            said = ""
        if process.exit_status is None or not self._connection.alive:
            return Dropped(f"the connection to {self._host} broke: {why}", "Try again: it goes on where it was.")
        cause = (
            f"{self._host}: the agent's program ended with status {process.exit_status}: {said or 'it said nothing'}"
        )
        return ProgramFailed(cause, "Check sudo without password, Python 3.9 or newer, and the program there.")
