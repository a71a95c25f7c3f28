"""New connections on a shared port go where they are steered, whichever socket of the others closes first."""

from __future__ import annotations

import asyncio
import socket
import sys
from itertools import permutations

import pytest
from balancer_home import free_port

from beanpole.agent.port import Port
from beanpole.agent.steering import Steering

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux steers a shared port")


async def connect(port: Port, count: int) -> list[socket.socket]:
    writers = [(await port.connect())[1] for _ in range(count)]
    return [writer.get_extra_info("socket") for writer in writers]


def taken(listening: list[socket.socket]) -> list[int]:
    """How many connections wait at each socket; they are taken."""
    counts = []
    for one in listening:
        count = 0
        while True:
            try:
                one.accept()[0].close()
            except BlockingIOError:
                break
            count += 1
        counts.append(count)
    return counts


@pytest.mark.parametrize("order", [*permutations(range(2)), *permutations(range(3))])
def test_only_the_new_sockets_get_connections(order: tuple[int, ...]) -> None:
    async def run() -> None:
        port = Port("127.0.0.1", free_port())
        old, new = [port.shared() for _ in order], [port.shared() for _ in range(3)]
        for one in [*old, *new]:
            one.listen(400)
        await connect(port, 120)
        # By hash: that one of six gets none of 120 has odds of 2 in 10^9.
        assert all(taken([*old, *new])), "without steering, all get some"
        steering = Steering(port, len(old))
        assert steering.start()
        for closing in order:
            await connect(port, 20)
            assert taken([one for one in old if one.fileno() >= 0]) == [0] * sum(one.fileno() >= 0 for one in old)
            assert sum(taken(new)) == 20
            old[closing].close()
        await connect(port, 20)
        assert sum(taken(new)) == 20
        steering.stop()
        await connect(port, 120)
        assert all(taken(new)), "afterwards, all new ones get some"
        for one in new:
            one.close()

    asyncio.run(run())


def test_a_connection_that_came_to_our_socket_is_passed_on() -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"heard " + await reader.read(100))
            writer.close()

        port = Port("127.0.0.1", free_port())
        server = await asyncio.start_server(answer, sock=(kept := port.shared()))
        kept.listen(100)
        # Nobody is number 9, so the kernel goes by its hash, and our own socket gets its share.
        steering = Steering(port, 9)
        assert steering.start()
        for _ in range(20):
            reader, writer = await port.connect()
            writer.write(b"me")
            assert await asyncio.wait_for(reader.read(-1), 5) == b"heard me"
            writer.close()
        steering.stop()
        server.close()

    asyncio.run(run())
