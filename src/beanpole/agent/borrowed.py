"""Sockets that other processes hold, as duplicates: what they are, how far their conversations are.

Linux 5.6 or newer, as root. A duplicate is the same socket: as long as we have it, it is not closed when its owner
ends. Nothing here changes one but `withhold`, above all not whether it blocks, which its owner would notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import socket
import struct
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Set, Tuple

PIDFD_GETFD = 438  # the number of the system call, the same on every architecture
LISTENING, OPEN = ("0A",), ("01", "08")  # states in /proc/net/tcp: LISTEN; ESTABLISHED and CLOSE_WAIT
INFO_SIZE = 232  # bytes of struct tcp_info that we want; a kernel gives as many as it has
_LAST_SENT, _LAST_RECEIVED, _RECEIVED, _SENT = 44, 52, 128, 200  # offsets in it
WITHHELD = 1 << 20  # bytes: more than the question that a client may ask while its server ends
_QUEUED = 24  # of a listening socket: connections that wait to be accepted


@dataclass(frozen=True)
class Pulse:
    """A conversation at one moment. Bytes since its beginning, those not read yet; milliseconds since the last ones."""

    received: int
    sent: int
    unread: int
    since_received: int
    since_sent: int

    @property
    def read(self) -> int:
        """Bytes that somebody took out of the socket."""
        return self.received - self.unread


@dataclass(frozen=True)
class Borrowed:
    """`pid` has it as `descriptor`. Whoever is done with it closes `socket`."""

    pid: int
    descriptor: int
    inode: str
    socket: socket.socket

    @property
    def held(self) -> bool:
        """Whether its owner has it still."""
        try:
            return str(Path(f"/proc/{self.pid}/fd/{self.descriptor}").readlink()) == f"socket:[{self.inode}]"
        except OSError:
            return False

    @property
    def waiting(self) -> int:
        """Of a listening socket: connections that nobody has accepted yet."""
        return int(struct.unpack_from("I", self._info(), _QUEUED)[0])

    def withhold(self, size: int = WITHHELD) -> None:
        """Nobody is told of what comes in, and nobody who waits for it gets it, until it is so much. 1: as usual."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def pulse(self) -> Pulse:
        info = self._info()
        sent, received = struct.unpack_from("I", info, _LAST_SENT)[0], struct.unpack_from("I", info, _LAST_RECEIVED)[0]
        totals = struct.unpack_from("Q", info, _RECEIVED)[0], struct.unpack_from("Q", info, _SENT)[0]
        unread = struct.unpack("i", fcntl.ioctl(self.socket, termios.FIONREAD, b"\0" * 4))[0]
        return Pulse(*totals, unread, received, sent)

    def _info(self) -> bytes:
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_SIZE)
        return info + b"\0" * (INFO_SIZE - len(info))


def borrow(pids: Iterable[int], port: int, states: Tuple[str, ...], known: Iterable[str] = ()) -> List[Borrowed]:
    """The TCP sockets of those processes with that port on our side, but for inodes that are known.

    OSError (ENOSYS, EPERM) where the kernel or a sandbox does not give them.
    """
    found: Dict[str, Borrowed] = {}
    try:
        _collect(found, pids, port, states, set(known))
    except BaseException:
        for each in found.values():
            each.socket.close()
        raise
    return list(found.values())


def allow_many() -> None:
    """This process may have as many descriptors as the system allows: a busy service has thousands of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect(
    found: Dict[str, Borrowed], pids: Iterable[int], port: int, states: Tuple[str, ...], seen: Set[str]
) -> None:
    for pid in pids:
        wanted = None
        for descriptor, inode in _descriptors(pid):
            if wanted is None:
                wanted = _inodes(pid, port, states)
            if inode in wanted and inode not in found and inode not in seen:
                with contextlib.suppress(ProcessLookupError):
                    found[inode] = Borrowed(pid, descriptor, inode, _duplicate(pid, descriptor))


def _duplicate(pid: int, descriptor: int) -> socket.socket:
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copied = libc.syscall(PIDFD_GETFD, process, descriptor, 0)
        if copied < 0:
            number = ctypes.get_errno()
            if number == errno.EBADF:  # closed since we looked
                raise ProcessLookupError(number, os.strerror(number))
            raise OSError(number, os.strerror(number))
    finally:
        os.close(process)
    return socket.socket(fileno=copied)


def _descriptors(pid: int) -> Iterator[Tuple[int, str]]:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    yield int(link.name), target[8:-1]


def _inodes(pid: int, port: int, states: Tuple[str, ...]) -> List[str]:
    ending, found = f":{port:04X}", []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), Path(f"/proc/{pid}/net/{table}").open(encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                fields = line.split()
                if fields[1].endswith(ending) and fields[3] in states:
                    found.append(fields[9])
    return found
