"""Connections that a client has made, joined by hand to whoever answers now. Each lives until one of its ends closes.

The far end sees this machine as its client: it is for the few connections that cannot reach it by themselves.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Awaitable, Callable, Set, Tuple

PIECE = 64 * 1024

Connect = Callable[[], "Awaitable[Tuple[asyncio.StreamReader, asyncio.StreamWriter]]"]


class Relays:
    """`connect`: a new connection to the far end; OSError when it takes none, which closes the client's."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._tasks: "Set[asyncio.Task[None]]" = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def take(self, connection: socket.socket) -> None:
        """It is ours from now on, and becomes non-blocking for everybody who has it."""
        task = asyncio.get_running_loop().create_task(self._relay(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take_waiting(self, listening: socket.socket) -> int:
        """All connections that wait in the queue of a non-blocking socket; how many these were."""
        count = 0
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # none is waiting, or it went away again
                return count
            count += 1
            self.take(connection)

    async def _relay(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))


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
