"""What the kernel knows about processes and this machine, read from /proc; from `ps` where there is no /proc.

All platform differences of the agent are here. Facts about a process that is gone are None or empty, never an error.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Set, Tuple

MARK = "BEANPOLE_PROCESS"  # environment variable by which processes of ours are found again
PS_SECONDS = 10.0  # for `ps`, which answers in milliseconds
LISTEN_STATE = "0A"  # TCP_LISTEN in /proc/net/tcp
ROOT = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """One process of one boot. A pid alone may name another process a moment later; these three together do not."""

    pid: int
    started: str
    boot: str


@dataclass(frozen=True)
class CpuTimes:
    """Ticks since boot, over all cores."""

    user: int = 0
    nice: int = 0
    system: int = 0
    idle: int = 0
    iowait: int = 0
    other: int = 0

    def shares(self, earlier: CpuTimes) -> Dict[str, float]:
        """Percentages of the time since `earlier`. All idle where the kernel tells nothing."""
        spent = {
            "user": self.user - earlier.user,
            "nice": self.nice - earlier.nice,
            "system": self.system - earlier.system,
            "idle": self.idle - earlier.idle,
            "iowait": max(0, self.iowait - earlier.iowait),  # documented to decrease at times
        }
        total = sum(spent.values()) + self.other - earlier.other
        if total <= 0:
            return {"user": 0.0, "nice": 0.0, "system": 0.0, "idle": 100.0, "iowait": 0.0}
        return {name: round(100.0 * ticks / total, 1) for name, ticks in spent.items()}


class Kernel:
    """Facts from /proc."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = str(root)
        self.boot = self._text("sys/kernel/random/boot_id").strip()

    def identity(self, pid: int) -> Optional[Identity]:
        """Who has that pid now. None when nobody has, or what is left of it waits to be reaped."""
        fields = self._stat(pid)
        if fields is None or fields[0] in "ZX":
            return None
        return Identity(pid, fields[19], self.boot)

    def alive(self, identity: Identity) -> bool:
        return self.identity(identity.pid) == identity

    def group(self, leader: int) -> List[int]:
        """The living members of a process group."""
        wanted = str(leader)
        members = []
        for pid in self._pids():
            fields = self._stat(pid)
            if fields is not None and fields[2] == wanted and fields[0] not in "ZX":
                members.append(pid)
        return members

    def leads(self, pid: int) -> bool:
        """Whether that process leads its own process group."""
        fields = self._stat(pid)
        return fields is not None and fields[2] == str(pid)

    def marked(self, prefix: str) -> Dict[int, str]:
        """Living processes whose mark begins with `prefix`: pid → mark. Those of other users may be invisible.

        ValueError for an empty prefix: what is found is ended, and every agent's processes would be found.
        """
        if not prefix:
            raise ValueError("an empty prefix of marks")
        start = f"{MARK}={prefix}".encode()
        found = {}
        for pid in self._pids():
            data = self._bytes(f"{pid}/environ")
            if start not in data or self.identity(pid) is None:
                continue
            for entry in data.split(b"\0"):
                if entry.startswith(start):
                    found[pid] = entry[len(MARK) + 1 :].decode("utf-8", "replace")
        return found

    def stopped(self, pid: int) -> bool:
        """Whether that process was stopped by a signal or a debugger, so that it does nothing until it is continued."""
        fields = self._stat(pid)
        return fields is not None and fields[0] in "Tt"

    def listening(self, pids: Iterable[int]) -> Optional[List[Tuple[str, int]]]:
        """(address, port) of each TCP socket on which one of the processes listens. None when that cannot be known."""
        listeners: Dict[str, Tuple[str, int]] = {}
        found: Set[Tuple[str, int]] = set()
        for pid in pids:
            listeners = listeners or self._listeners(str(pid))
            found.update(listeners[inode] for inode in self._sockets(pid) if inode in listeners)
        return sorted(found)

    def listener(self, port: int) -> Optional[int]:
        """A process that listens on that port, as far as it can be seen."""
        inodes = {inode for inode, place in self._listeners("self").items() if place[1] == port}
        if not inodes:
            return None
        return next((pid for pid in self._pids() if not inodes.isdisjoint(self._sockets(pid))), None)

    def command(self, pid: int) -> str:
        """The command line of a process, shortened."""
        return self.command_line(pid)[:120]

    def command_line(self, pid: int) -> str:
        """The words of a process's command line, joined by blanks; empty when it cannot be seen."""
        return self._bytes(f"{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()

    def resident(self, pids: Iterable[int]) -> int:
        """Bytes of memory that the processes hold together; shared pages count in each."""
        pages = 0
        for pid in pids:
            fields = self._text(f"{pid}/statm").split()
            pages += int(fields[1]) if len(fields) > 1 else 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> CpuTimes:
        words = self._text("stat").partition("\n")[0].split()
        ticks = [int(word) for word in words[1:9]]
        if len(ticks) < 5:
            return CpuTimes()
        user, nice, system, idle, iowait, *other = ticks
        return CpuTimes(user, nice, system, idle, iowait, sum(other))

    def memory_available(self) -> int:
        """Bytes that new processes may take without swapping."""
        return self._memory("MemAvailable:")

    def memory_total(self) -> int:
        """Bytes of memory that this machine has."""
        return self._memory("MemTotal:")

    def oom_kills(self) -> int:
        """How many processes the kernel killed for lack of memory since boot."""
        for line in self._text("vmstat").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def oom_score(self, pid: int) -> Optional[int]:
        text = self._text(f"{pid}/oom_score_adj").strip()
        return int(text) if text else None

    def set_oom_score(self, pid: int, score: int) -> bool:
        """False when the process is gone or the kernel refuses."""
        try:
            descriptor = os.open(f"{self._root}/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(descriptor, str(score).encode())
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _memory(self, name: str) -> int:
        for line in self._text("meminfo").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return 0

    def _pids(self) -> List[int]:
        with os.scandir(self._root) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdigit()]

    def _stat(self, pid: int) -> Optional[List[str]]:
        """The fields of /proc/PID/stat after the name, which may hold spaces and parentheses itself: state first."""
        fields = self._text(f"{pid}/stat").rpartition(")")[2].split()
        return fields if len(fields) > 19 else None

    def _sockets(self, pid: int) -> List[str]:
        """The inodes of the sockets that a process holds open."""
        inodes = []
        with contextlib.suppress(OSError):
            for link in Path(f"{self._root}/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(link.readlink())
                    if target.startswith("socket:["):
                        inodes.append(target[8:-1])
        return inodes

    def _listeners(self, pid: str) -> Dict[str, Tuple[str, int]]:
        """TCP sockets that listen in the network namespace of that process: inode → (address, port)."""
        places = {}
        for table in ("tcp", "tcp6"):
            for line in self._text(f"{pid}/net/{table}").splitlines()[1:]:
                fields = line.split()
                if len(fields) > 9 and fields[3] == LISTEN_STATE:
                    places[fields[9]] = _place(fields[1])
        return places

    def _text(self, name: str) -> str:
        return self._bytes(name).decode("utf-8", "replace")

    def _bytes(self, name: str) -> bytes:
        # Not through Path: a scan opens some hundred files, and the agent may use a five-hundredth of a core.
        try:
            descriptor = os.open(f"{self._root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            parts: List[bytes] = []
            while True:
                part = os.read(descriptor, 65536)
                if not part:
                    return b"".join(parts)
                parts.append(part)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


class PsKernel(Kernel):
    """The same facts, as far as `ps` has them (macOS). Marks, open ports and CPU times stay unknown."""

    def __init__(self) -> None:
        self._root = "/nonexistent"
        self.boot = "unknown"  # start times hold the date here, so that a pid of an earlier boot differs anyway

    def identity(self, pid: int) -> Optional[Identity]:
        lines = self._ps("-o", "stat=,lstart=", "-p", str(pid))
        state, _, started = lines[0].strip().partition(" ") if lines else ("Z", "", "")
        return None if state[:1] in "ZX" else Identity(pid, started.strip(), self.boot)

    def group(self, leader: int) -> List[int]:
        rows = [line.split() for line in self._ps("-A", "-o", "pid=,pgid=,stat=")]
        return [int(row[0]) for row in rows if len(row) > 2 and row[1] == str(leader) and row[2][:1] not in "ZX"]

    def leads(self, pid: int) -> bool:
        lines = self._ps("-o", "pgid=", "-p", str(pid))
        return bool(lines) and lines[0].strip() == str(pid)

    def listening(self, pids: Iterable[int]) -> Optional[List[Tuple[str, int]]]:
        return None

    def stopped(self, pid: int) -> bool:
        lines = self._ps("-o", "stat=", "-p", str(pid))
        return bool(lines) and lines[0].strip()[:1] == "T"

    def command_line(self, pid: int) -> str:
        lines = self._ps("-ww", "-o", "command=", "-p", str(pid))
        return lines[0].strip() if lines else ""

    def resident(self, pids: Iterable[int]) -> int:
        names = ",".join(str(pid) for pid in pids)
        return sum(int(line) * 1024 for line in self._ps("-o", "rss=", "-p", names)) if names else 0

    def _pids(self) -> List[int]:
        return []

    def memory_available(self) -> int:
        pages = 0
        for line in self._lines(["/usr/bin/vm_stat"]):
            name, _, value = line.partition(":")
            if name in ("Pages free", "Pages inactive", "Pages speculative"):
                pages += int(value.strip(" ."))
        return pages * os.sysconf("SC_PAGE_SIZE")

    def memory_total(self) -> int:
        lines = self._lines(["/usr/sbin/sysctl", "-n", "hw.memsize"])
        return int(lines[0]) if lines else 0

    def _ps(self, *words: str) -> List[str]:
        return self._lines(["/bin/ps", *words])

    def _lines(self, words: List[str]) -> List[str]:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PS_SECONDS, check=False,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]


def this_kernel() -> Kernel:
    """The kernel that we run on."""
    return Kernel() if (ROOT / "self/stat").exists() else PsKernel()


def _place(text: str) -> Tuple[str, int]:
    """`0100007F:1F90` → ("127.0.0.1", 8080): words of 32 bits in the machine's byte order."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)
