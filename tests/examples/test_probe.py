"""The application under test loads loses nothing by itself: what is measured later is Beanpole, not the probe."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROBE = Path(__file__).parents[1] / "apps" / "probe"
LIMIT = 20  # seconds that any single answer may take
MASK = b"\x11\x22\x33\x44"


class Probe:
    """A running probe; `lines` are what it says on standard error."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-B", "server.py"], cwd=PROBE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PORT": str(self.port), "COLOUR": "grün"},
        )  # fmt: skip
        assert self.process.stderr is not None
        self.lines = self.process.stderr
        assert "listens" in self.lines.readline()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def get(self, path: str) -> tuple[int, dict, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers

    def terminate(self) -> None:
        """Asks it to stop; returns once it has begun to."""
        self.process.send_signal(signal.SIGTERM)
        assert "stops" in self.lines.readline()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def probe() -> Iterator[Probe]:
    running = Probe()
    yield running
    running.process.kill()
    running.process.wait(LIMIT)
    running.lines.close()


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, str, bytes]]:
    """Status, Connection header and body of the next answers."""
    found = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                assert line, "closed in the middle of an answer"
                head += line
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])
            kept = re.search(rb"Connection: (\S+)", head)[1].decode()
            found.append((int(head.split()[1]), kept, stream.read(length)))
    return found


def test_each_page_answers_and_names_the_version(probe: Probe) -> None:
    version = (PROBE / "VERSION").read_text().strip()
    assert probe.get("/version")[1] == {"version": version}
    assert probe.get("/pid")[1]["pid"] == probe.process.pid
    assert probe.get("/env?name=COLOUR")[1] == {"name": "COLOUR", "value": "grün"}
    assert probe.get("/env?name=NOT_SET")[1]["value"] is None
    assert probe.get("/slow?s=0.01")[0] == 200
    statuses = {"/": 200, "/health": 200, "/nowhere": 404, "/slow?s=x": 400, "/slow?s=-1": 400, "/ws": 426}
    for path, expected in statuses.items():
        status, _, headers = probe.get(path)
        assert (status, headers["X-App-Version"]) == (expected, version)


def test_one_connection_carries_many_requests_with_bodies(probe: Probe) -> None:
    with probe.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /"
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n"
            b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = read_answers(connection, 4)
        assert [(status, kept) for status, kept, _ in answers] == [(200, "keep-alive")] * 3 + [(200, "close")]
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    ],
)
def test_an_unreadable_request_is_refused_and_the_connection_closed(probe: Probe, sent: bytes, status: int) -> None:
    with probe.connect() as connection:
        connection.sendall(sent)
        assert [(answer[0], answer[1]) for answer in read_answers(connection, 1)] == [(status, "close")]
    assert probe.get("/")[0] == 200


def test_stopping_finishes_what_runs_and_answers_late_requests(probe: Probe) -> None:
    with probe.connect() as slow, probe.connect() as idle, probe.connect() as silent:
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_answers(idle, 1)[0][:2] == (200, "keep-alive")
        slow.sendall(b"GET /pid HTTP/1.1\r\n\r\nGET /slow?s=1 HTTP/1.1\r\n\r\n")
        assert read_answers(slow, 1)[0][0] == 200  # so the next one, sent together with it, runs
        probe.terminate()
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_answers(idle, 1)[0][:2] == (200, "close")
        assert silent.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            probe.connect()
        assert read_answers(slow, 1)[0][:2] == (200, "close")
    assert probe.process.wait(LIMIT) == 0
    assert "0 requests cut" in probe.lines.readline()


def test_a_crash_is_answered_then_the_process_dies(probe: Probe) -> None:
    status, value, _ = probe.get("/crash?exit=3")
    assert (status, value["pid"]) == (202, probe.process.pid)
    assert probe.process.wait(LIMIT) == 3


def frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    masked = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8, "big")
    return bytes([opcode | (0x80 if final else 0)]) + length + MASK + masked


def open_websocket(connection: socket.socket) -> None:
    connection.sendall(
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the answer to this key in RFC 6455


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        assert part, f"closed after {found!r}"
        found += part
    return found


def test_the_websocket_echoes_and_closes(probe: Probe) -> None:
    with probe.connect() as connection:
        open_websocket(connection)
        connection.sendall(frame(1, "grün".encode()) + frame(9, b"still there?"))
        assert receive_exactly(connection, 7) == b"\x81\x05" + "grün".encode()
        assert receive_exactly(connection, 14) == b"\x8a\x0cstill there?"
        connection.sendall(frame(2, b"ab", final=False) + frame(9, b"") + frame(0, b"c" * 70_000))
        assert receive_exactly(connection, 2) == b"\x8a\x00"
        long = b"ab" + b"c" * 70_000
        assert receive_exactly(connection, 10 + len(long)) == b"\x82\x7f" + len(long).to_bytes(8, "big") + long
        connection.sendall(frame(8, (1000).to_bytes(2, "big")))
        assert receive_exactly(connection, 4) == b"\x88\x02" + (1000).to_bytes(2, "big")
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x01a", 1002),
        (frame(0, b"a"), 1002),
        (frame(1, b"\xff"), 1007),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
    ],
)
def test_a_broken_websocket_is_closed_with_the_reason(probe: Probe, sent: bytes, code: int) -> None:
    with probe.connect() as connection:
        open_websocket(connection)
        connection.sendall(sent)
        assert receive_exactly(connection, 4)[2:] == code.to_bytes(2, "big")


def test_stopping_says_goodbye_on_the_websocket(probe: Probe) -> None:
    with probe.connect() as connection:
        open_websocket(connection)
        probe.terminate()
        assert receive_exactly(connection, 4) == b"\x88\x02" + (1001).to_bytes(2, "big")
        connection.sendall(frame(8, (1001).to_bytes(2, "big")))
        assert probe.process.wait(LIMIT) == 0
