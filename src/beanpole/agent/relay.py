"""Connections that a client has made, joined by hand to whoever answers now. Each lives until one of its ends closes.

A process of its own does that, which is sent the connections: it outlives the agent, so that an agent that is renewed
or dies cuts none of them. It ends with the last one. The far end sees this machine as its client: it is for the few
connections that cannot reach it by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from typing import List, Optional, Set

from .port import Port
from .program import program_words

PIECE = 64 * 1024
BATCH = 200  # connections in one message: Linux takes 253
CONNECT_SECONDS = 5.0  # for the far end, which is on this machine, to take a connection


class Relays:
    """`port`: the far end. Its process is started for the first connection."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._line: Optional[socket.socket] = None
        self._child: "Optional[subprocess.Popen[bytes]]" = None

    def take(self, connections: List[socket.socket]) -> None:
        """They are no longer ours, and become non-blocking for everybody who has them. OSError when that fails."""
        for at in range(0, len(connections), BATCH):
            some = connections[at : at + BATCH]
            if self._line is None:
                self._line = self._start()
            socket.send_fds(self._line, [b"."], [each.fileno() for each in some])
            for each in some:
                each.close()

    def take_waiting(self, listening: socket.socket) -> int:
        """All connections that wait in the queue of a non-blocking socket; how many these were."""
        found: List[socket.socket] = []
        while True:
            try:
                found.append(listening.accept()[0])
            except OSError:  # none is waiting, or it went away again
                self.take(found)
                return len(found)

    def close(self) -> None:
        """Nothing more comes. What was taken goes on."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _start(self) -> socket.socket:
        near, far = socket.socketpair()
        with far:
            words = [*program_words(), "relay", "--address", self._port.address, "--port", str(self._port.number)]
            environment = {"PATH": os.environ.get("PATH", "")}
            try:
                self._child = subprocess.Popen(
                    words,
                    stdin=far.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException:
                near.close()
                raise
        return near


def run(port: Port) -> int:
    """The process: takes connections from its standard input, and ends when that has ended and so have all of them."""
    asyncio.run(_serve(port))
    return 0


async def _serve(port: Port) -> None:
    line = socket.socket(fileno=os.dup(0))
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    relayed: "Set[asyncio.Task[None]]" = set()

    def take() -> None:
        try:
            # One byte at a time: each brings the descriptors that were sent with it.
            said, descriptors, _, _ = socket.recv_fds(line, 1, BATCH)
        except BlockingIOError:
            return
        except OSError:
            said, descriptors = b"", []
        for descriptor in descriptors:
            task = loop.create_task(_relay(socket.socket(fileno=descriptor), port))
            relayed.add(task)
            task.add_done_callback(relayed.discard)
        if not said:
            loop.remove_reader(line)
            over.set()

    loop.add_reader(line, take)
    await over.wait()
    while relayed:
        await asyncio.wait(relayed)


async def _relay(connection: socket.socket, port: Port) -> None:
    connection.setblocking(False)
    with contextlib.suppress(OSError):  # one end is gone, and so is the other
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            far_reader, far_writer = await port.connect(CONNECT_SECONDS)
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
