"""Leads new connections away from a process that is about to close its listening sockets on a shared port.

Sockets that share a port (SO_REUSEPORT) form a group, and the kernel gives each connection to one of them by a hash.
When one is closed, connections that wait in its queue are reset: at 270 new ones a second, every fourth replacement of
an Envoy lost one. So, for that time, a socket of ours joins the group and sets the group's filter: every new connection
goes to the process that stays. Linux only, needs no privilege; elsewhere, or where it is refused, nothing is steered.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import sys
from typing import Optional, Tuple

from .port import Port
from .relay import Relays

BACKLOG = 64  # connections that reach our own socket in the microseconds until the filter is set
ATTACH_FILTER = 51  # SO_ATTACH_REUSEPORT_CBPF, which Python does not name
NOBODY = 0xFFFF  # a number that no socket of the group has: the kernel goes by its hash
LOAD, MODULO, ADD, RETURN = 0x20, 0x94, 0x04, 0x16  # BPF_LD|W|ABS, BPF_ALU|MOD|K, BPF_ALU|ADD|K, BPF_RET|A
UNLESS, GIVE = 0x15, 0x06  # BPF_JMP|JEQ|K, of which we use the jump when it is not equal; BPF_RET|K
SOURCE = 0xFFF00000 + 12  # SKF_NET_OFF + 12: where a filter finds the source address of an IPv4 packet
RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM: where a filter finds a random number


class Steering:
    """Sends new connections on that port to the sockets which joined the group as number `index` (from 0) and later,
    `count` of them.

    The kernel keeps sockets in the order in which they joined, and fills the place of one that left with the last. Ours
    is the last one. So with `index` sockets of the old process, number `index` is one of the new process, and stays it
    until all old ones are closed (if the new process has as many; else our own socket gets some, and passes them on).
    """

    def __init__(self, port: Port, index: int, count: int = 1) -> None:
        self._port = port
        self._index = index
        self._count = count
        self._socket: Optional[socket.socket] = None
        self._relays = Relays(port)

    def start(self) -> bool:
        """From now on the old process gets no new connection. False where that is not possible."""
        if not sys.platform.startswith("linux"):
            return False
        member = self._port.shared()
        try:
            member.listen(BACKLOG)
            _filter(member, self._index, self._count)
        except OSError:
            member.close()
            return False
        self._socket = member
        asyncio.get_running_loop().add_reader(member, self._take)
        return True

    def turn(self, index: int, count: int = 1, asking: Optional[Tuple[str, int]] = None) -> None:
        """From now on to these sockets instead. `asking`: from that IPv4 address, to that socket. OSError."""
        self._index, self._count = index, count
        if self._socket is not None:
            _filter(self._socket, index, count, asking)

    def own(self, uid: int) -> None:
        """Our socket is that user's from now on, as far as sharing goes."""
        if self._socket is not None:
            os.fchown(self._socket.fileno(), uid, -1)

    def leave(self) -> None:
        """The group goes on as it is led now; who joined last gets our place in it."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._take()
            self._socket.close()
            self._socket = None
            self._relays.close()

    def stop(self) -> None:
        """To be called when the old process has closed its sockets, or has ended."""
        if self._socket is not None:
            _filter(self._socket, NOBODY)
        self.leave()

    def _take(self) -> None:
        """Connections that came to our socket before the filter was set are passed on by hand."""
        if self._socket is not None:
            self._relays.take_waiting(self._socket)


def _filter(member: socket.socket, index: int, count: int = 1, asking: Optional[Tuple[str, int]] = None) -> None:
    """Every connection of the group goes to one of those numbers. OSError where the kernel has no such thing."""
    words = [(LOAD, 0, RANDOM), (MODULO, 0, count), (ADD, 0, index), (RETURN, 0, 0)]
    if asking is not None:
        address = int.from_bytes(socket.inet_aton(asking[0]), "big")
        words = [(LOAD, 0, SOURCE), (UNLESS, 1, address), (GIVE, 0, asking[1]), *words]
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", word, 0, skip, value) for word, skip, value in words)
    )
    program = struct.pack("@HL", len(words), ctypes.addressof(code))
    member.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)
