"""Content-addressed files go to a server, in a process of their own: compressing and encrypting would hold up the rest.

`python -m beanpole.fleet.servers.transfer` reads a JSON document on stdin: address, host_key, program (the agent's, on
the server), root (the folder of blobs there), files [[path here, sha256, size]…], maybe python and become. It prints
lines {"done", "total", "file"}, at most ten a second, and ends with {"sent", "skipped", "wire"} and status 0, or with
{"error", "remedy", "kind"} and status 1. What is there is not sent; what a cut left there is gone on with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beanpole.fleet.servers.address import Address, AddressError

MODULE = "beanpole.fleet.servers.transfer"
PROGRESS_SECONDS = 0.1  # between two lines of progress
QUIET_SECONDS = 180.0  # without a line from the process: longer than any of its own limits
END_SECONDS = 5.0  # for it to end when it is told to
LINE_LIMIT = 1024 * 1024  # bytes of one of its lines
KINDS_UNKNOWN = ("unreachable", "dropped", "overdue")

OnProgress = Callable[[int, int, str], None]  # bytes done, of how many, path of the file


@dataclass(frozen=True)
class Destination:
    """Where files go: the server, its pinned key, the agent's program there, the folder of blobs there."""

    address: Address
    host_key: str
    program: str
    root: str
    python: str = "python3"
    become: tuple[str, ...] = ("sudo", "-n")

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("host_key", "program", "root", "python", "become")}
        return {"address": self.address.to_json(), **values}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Destination:
        """ValueError for what `to_json` does not make."""
        try:
            become = tuple(value.get("become", ("sudo", "-n")))
            names = {name: str(value[name]) for name in ("host_key", "program", "root")}
            return cls(
                Address.from_json(value["address"]), **names, python=value.get("python", "python3"), become=become
            )
        except KeyError as error:
            raise ValueError(f"the document has no {error}") from error


@dataclass(frozen=True)
class Sent:
    """`sent`: bytes of content that went; `skipped`: files that were there; `wire`: bytes that this took."""

    sent: int
    skipped: int
    wire: int


class TransferFailed(Exception):
    """`kind`: "unreachable", "dropped", "overdue", "refused", "host key", "program", "disk full", "disk", "damaged",
    "source" or "internal". `unknown`: nothing is known about the server, and another try may do."""

    def __init__(self, cause: str, remedy: str, kind: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.kind = kind

    @property
    def unknown(self) -> bool:
        return self.kind in KINDS_UNKNOWN


async def send(
    destination: Destination, files: Sequence[tuple[Path, str, int]], on_progress: OnProgress | None = None
) -> Sent:
    """Sends the files (path here, SHA-256, size) that the server lacks. TransferFailed. Cancelling ends the process."""
    document = {**destination.to_json(), "files": [[str(path), sha256, size] for path, sha256, size in files]}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT,
        start_new_session=True,
    )
    stderr = asyncio.create_task(_last_words(process))
    try:
        return await _follow(process, json.dumps(document).encode(), stderr, on_progress)
    finally:
        await _end(process)
        stderr.cancel()


async def _follow(
    process: asyncio.subprocess.Process, document: bytes, stderr: asyncio.Task[str], on_progress: OnProgress | None
) -> Sent:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process without pipes")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended: its last words say why
        process.stdin.write(document)
        await process.stdin.drain()
        process.stdin.close()
    while True:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError as error:
            cause = f"the transfer said nothing for {QUIET_SECONDS:g} s"
            raise TransferFailed(cause, "Try again: it goes on where it was.", "overdue") from error
        if not line:
            words = await stderr
            cause = f"the transfer's process ended with status {await process.wait()}: {words or 'it said nothing'}"
            raise TransferFailed(cause, "Try again; if it happens again, report it.", "internal")
        told = json.loads(line)
        if "error" in told:
            raise TransferFailed(told["error"], told["remedy"], told["kind"])
        if "sent" in told:
            return Sent(told["sent"], told["skipped"], told["wire"])
        if on_progress is not None:
            on_progress(told["done"], told["total"], told["file"])


async def _last_words(process: asyncio.subprocess.Process) -> str:
    if process.stderr is None:
        return ""
    kept = b""
    while data := await process.stderr.read(4096):
        kept = (kept + data)[-2000:]
    return kept.decode("utf-8", "replace").strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing of it is left, whatever happens meanwhile."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
    except asyncio.CancelledError:
        process.kill()
        raise


class _Progress:
    """Prints at most ten lines a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, done: int, total: int, file: str) -> None:
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + PROGRESS_SECONDS
            _say({"done": done, "total": total, "file": file})


def _say(value: Mapping[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def main() -> int:
    """The process. Its exit status."""
    # Here, because it imports this module.
    from beanpole.fleet.servers.sender import deliver

    try:
        document = json.loads(sys.stdin.buffer.read())
        if not isinstance(document, dict):
            raise ValueError("it is no object")  # noqa: TRY004 - one kind of error for all faults of the document
        destination = Destination.from_json(document)
        files = [(Path(path), str(sha256), int(size)) for path, sha256, size in document["files"]]
        sent = asyncio.run(deliver(destination, files, _Progress()))
    except TransferFailed as error:
        _say({"error": error.cause, "remedy": error.remedy, "kind": error.kind})
        return 1
    except AddressError as error:
        _say({"error": error.cause, "remedy": error.remedy, "kind": "refused"})
        return 1
    except (ValueError, KeyError, TypeError) as error:
        remedy = "This is a fault of whoever started it: report it."
        _say({"error": f"the document cannot be used: {error}", "remedy": remedy, "kind": "internal"})
        return 1
    except BrokenPipeError:
        # Whoever started us is gone, and Python would complain when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    _say({"sent": sent.sent, "skipped": sent.skipped, "wire": sent.wire})
    return 0


if __name__ == "__main__":
    # Under its real name, so that there is one class of each error.
    from beanpole.fleet.servers import transfer

    sys.exit(transfer.main())
