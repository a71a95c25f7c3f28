"""Lets sockets of other programs share a port, of which they know nothing: a small program in the kernel that runs when
a process of a cgroup binds.

As root, with cgroup version 2, on a kernel whose programs may set SO_REUSEPORT (6.1 can). It ends with `close`, or with
this process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
from pathlib import Path
from typing import List

SYSCALLS = {"x86_64": 321, "aarch64": 280}  # bpf(2), by `uname -m`
LOAD, LINK = 5, 28  # BPF_PROG_LOAD, BPF_LINK_CREATE
SOCK_ADDR = 18  # BPF_PROG_TYPE_CGROUP_SOCK_ADDR
BINDS = (8, 9)  # BPF_CGROUP_INET4_BIND, BPF_CGROUP_INET6_BIND
SETSOCKOPT = 49  # number of the helper
OPTIONS = (2, 15)  # SO_REUSEADDR, SO_REUSEPORT
USER_PORT = 24  # offset in struct bpf_sock_addr, in network byte order


class BindHook:
    """OSError where the kernel has no such thing."""

    def __init__(self, cgroup: Path, port: int) -> None:
        self._open: List[int] = []
        group = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for kind in BINDS:
                self._open.append(_loaded(_program(port), kind))
                self._open.append(_bpf(LINK, struct.pack("IIII", self._open[-1], group, kind, 0)))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(group)

    def close(self) -> None:
        """Who has bound goes on sharing; nobody else does from now on."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open = []


def _program(port: int) -> bytes:
    """If the port is that one: setsockopt(SOL_SOCKET, …, 1). In any case: go on."""
    once = b"".join(
        [
            _code(0xBF, 1, 6),  # r1 = r6, the call's context
            _code(0xB7, 2, value=1),  # r2 = SOL_SOCKET
            b"%b",
            _code(0xBF, 4, 10),  # r4 = r10 - 4, where the 1 is
            _code(0x07, 4, value=-4),
            _code(0xB7, 5, value=4),  # r5 = its size
            _code(0x85, value=SETSOCKOPT),
        ]
    )
    calls = b"".join(once % _code(0xB7, 3, value=option) for option in OPTIONS)
    body = _code(0x62, 10, offset=-4, value=1) + calls
    return b"".join(
        [
            _code(0xBF, 6, 1),
            _code(0x61, 2, 1, offset=USER_PORT),
            _code(0x55, 2, offset=len(body) // 8, value=socket.htons(port)),
            body,
            _code(0xB7, 0, value=1),
            _code(0x95),
        ]
    )


def _code(operation: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", operation, source << 4 | target, offset, value)


def _loaded(program: bytes, kind: int) -> int:
    code, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
    places = (SOCK_ADDR, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    return _bpf(LOAD, struct.pack("IIQQIIQII16sII", *places, 0, 0, 0, 0, 0, b"beanpole_bind", 0, kind))


def _bpf(command: int, attributes: bytes) -> int:
    number = SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"no bpf for {platform.machine()} here")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    made = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(attributes))
    if made < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(made)
