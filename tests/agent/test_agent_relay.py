"""Connections that are passed on live on without the agent that took them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_site import eventually

SECONDS = 20
AGENT = """
import socket, sys
from beanpole.agent.port import Port
from beanpole.agent.relay import Relays
listening = socket.socket(fileno=int(sys.argv[1]))
listening.setblocking(False)
print(Relays(Port("127.0.0.1", int(sys.argv[2]))).take_waiting(listening))
"""


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


def relaying(far: socket.socket) -> list[Path]:
    """Processes that pass on connections to there."""
    words = f"\0relay\0--address\x00127.0.0.1\0--port\0{far.getsockname()[1]}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words in path.read_bytes():
                found.append(path)
    return found


def test_connections_outlive_the_agent_and_their_process_ends_with_the_last(far: socket.socket) -> None:
    with contextlib.ExitStack() as ends, socket.create_server(("127.0.0.1", 0)) as former:
        clients = [
            ends.enter_context(socket.create_connection(former.getsockname(), timeout=SECONDS)) for _ in range(3)
        ]
        words = [sys.executable, "-c", AGENT, str(former.fileno()), str(far.getsockname()[1])]
        done = subprocess.run(
            words, pass_fds=[former.fileno()], stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True
        )
        assert done.stdout.split() == ["3"]
        former.close()
        peers = [ends.enter_context(far.accept()[0]) for _ in clients]
        for client in clients:
            client.sendall(b"question")
        for peer in peers:
            peer.settimeout(SECONDS)
            assert peer.recv(100) == b"question"
            peer.sendall(b"answer")
        for client in clients:
            assert client.recv(100) == b"answer"
        peers[1].close()
        assert clients[1].recv(100) == b""
        assert len(relaying(far)) == 1
    eventually("nothing is passed on any more", lambda: not relaying(far))


def test_a_client_sees_that_nobody_takes_its_connection(far: socket.socket) -> None:
    number = far.getsockname()[1]
    far.close()
    with (
        socket.create_server(("127.0.0.1", 0)) as former,
        socket.create_connection(former.getsockname(), timeout=SECONDS) as client,
    ):
        words = [sys.executable, "-c", AGENT, str(former.fileno()), str(number)]
        subprocess.run(words, pass_fds=[former.fileno()], stdout=subprocess.DEVNULL, timeout=SECONDS, check=True)
        assert client.recv(1) == b""
