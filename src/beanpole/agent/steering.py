"""Leads new connections away from a process that is about to close its listening sockets on a shared port.

Sockets that share a port (SO_REUSEPORT) form a group, and the kernel gives each connection to one of them by a hash.
When one is closed, connections that wait in its queue are reset: at 270 new ones a second, every fourth replacement of
an Envoy lost one. So, for that time, a socket of ours joins the group and sets the group's filter: every new connection
goes to the process that stays. Linux only, needs no privilege; elsewhere, or where it is refused, nothing is steered.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
from typing import Optional, Set

from .port import Port

BACKLOG = 64  # connections that reach our own socket in the microseconds until the filter is set
PIECE = 64 * 1024
ATTACH_FILTER = 51  # SO_ATTACH_REUSEPORT_CBPF, which Python does not name
NOBODY = 0xFFFF  # a number that no socket of the group has: the kernel goes by its hash
RETURN = 0x06  # the filter's one instruction: BPF_RET | BPF_K


class Steering:
    """Sends new connections on that port to the socket which joined the group as number `index` (from 0).

    The kernel keeps sockets in the order in which they joined, and fills the place of one that left with the last. Ours
    is the last one. So with `index` sockets of the old process, number `index` is one of the new process, and stays it
    until all old ones are closed (if the new process has as many; else our own socket gets some, and passes them on).
    """

    def __init__(self, port: Port, index: int) -> None:
        self._port = port
        self._index = index
        self._socket: Optional[socket.socket] = None
        self._relays: "Set[asyncio.Task[None]]" = set()

    def start(self) -> bool:
        """From now on the old process gets no new connection. False where that is not possible."""
        if not sys.platform.startswith("linux"):
            return False
        member = self._port.shared()
        try:
            member.listen(BACKLOG)
            _filter(member, self._index)
        except OSError:
            member.close()
            return False
        self._socket = member
        asyncio.get_running_loop().add_reader(member, self._take)
        return True

    def stop(self) -> None:
        """To be called when the old process has closed its sockets, or has ended."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        _filter(self._socket, NOBODY)
        self._take()
        self._socket.close()
        self._socket = None

    def _take(self) -> None:
        """Connections that came to our socket before the filter was set are passed on by hand."""
        while self._socket is not None:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # none is waiting, or it went away again
                return
            task = asyncio.get_running_loop().create_task(self._relay(connection))
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)

    async def _relay(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            far_reader, far_writer = await self._port.connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))


def _filter(member: socket.socket, index: int) -> None:
    """Every connection of the group goes to that number. OSError where the kernel has no such thing."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, index))
    program = struct.pack("@HL", 1, ctypes.addressof(instruction))
    member.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            piece = await reader.read(PIECE)
            if not piece:
                return
            writer.write(piece)
            await writer.drain()
    except OSError:
        return  # one end is gone, so the other one is closed, too
    finally:
        writer.close()
