"""What a stranger may send before a request is one: bounded in bytes and time, and told what was wrong."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from served import Ledger, client, exchange, keys, served, session

from beanpole.aws import connection
from beanpole.aws.call import Call, Service
from beanpole.aws.gateway import Gateway
from beanpole.aws.models import load_model


def stacks(call: Call) -> dict[str, Any]:
    return {"SolutionStacks": [call.caller.source, call.endpoint]}


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(scope="module")
def url(ledger: Ledger) -> Iterator[str]:
    beanstalk = Service("elasticbeanstalk", load_model("elasticbeanstalk"), {"ListAvailableSolutionStacks": stacks})
    with served(Gateway([beanstalk], keys, audit=ledger.audit, on_error=ledger.on_error)) as url:
        yield url


@pytest.fixture(scope="module")
def clients() -> botocore.session.Session:
    return session()


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def sent_without_end(url: str, head: bytes, piece: bytes, pieces: int = 256) -> int:
    """How many pieces the server took before it ended the connection; all of them when it did not."""
    with connected(url) as made:
        made.sendall(head)
        for count in range(pieces):
            try:
                made.sendall(piece)
            except OSError:
                return count
        made.settimeout(5)
        try:
            while made.recv(65536):
                pass
        except TimeoutError:
            return pieces
        except OSError:
            pass
        return pieces - 1


def answer(made: socket.socket) -> bytes:
    found = b""
    while piece := made.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: " + b"a" * 100_000 + b"\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"a" * 100_000),
        (b"GET /", b"a" * 100_000),
        (b"", b"\r\n" * 50_000),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: " + b"a" * 100_000 + b"\r\n"),
    ],
    ids=["headers", "one header", "address", "empty lines", "trailers"],
)
def test_heads_without_end(url: str, head: bytes, piece: bytes) -> None:
    # What the system's buffers take is sent whatever the server does; 25 MB do not fit there.
    assert sent_without_end(url, head, piece) < 250


def test_a_head_that_is_too_long_is_told_so(url: str) -> None:
    with connected(url) as made:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "
        # Not a byte more than it takes: what is not read when a connection closes takes the answer away.
        made.sendall(head + b"a" * (connection.HEAD_LIMIT + 1 - len(head)))
        found = answer(made)
    assert found.startswith(b"HTTP/1.1 431 ")
    assert b"RequestHeaderSectionTooLarge" in found
    assert re.search(rb"\r\nDate: .*GMT\r\n", found)
    assert re.search(rb"\r\nx-amzn-RequestId: [0-9a-f-]{36}\r\n", found)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HT", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
        (b"\r\n", b"HTTP/1.1 408 "),
        (b"", b""),
    ],
    ids=["half a line", "half a head", "an empty line", "nothing"],
)
def test_half_a_request_does_not_stay(url: str, monkeypatch: pytest.MonkeyPatch, sent: bytes, expected: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.1)
    with connected(url) as made:
        made.sendall(sent)
        found = answer(made)
    assert found[: len(b"HTTP/1.1 408 ")] == expected
    assert (b"<Code>RequestTimeout</Code>" in found) is bool(sent)


def test_half_a_request_after_a_whole_one_does_not_stay(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(url) as made:
        made.sendall(whole)
        assert made.recv(65536).startswith(b"HTTP/1.1 403 ")
        monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.1)
        made.sendall(b"GET /x HT")
        assert answer(made).startswith(b"HTTP/1.1 408 ")
    with connected(url) as made:
        made.sendall(whole + b"GET /x HT")
        found = answer(made)
    assert found.startswith(b"HTTP/1.1 403 ")
    assert b"HTTP/1.1 408 " in found


def test_a_head_in_pieces_and_several_requests_on_a_connection(url: str) -> None:
    with connected(url) as made:
        for _ in range(3):
            for piece in (b"GET /x HT", b"TP/1.1\r\nHo", b"st: x\r\n", b"\r\n"):
                made.sendall(piece)
            assert made.recv(65536).startswith(b"HTTP/1.1 403 ")


def test_a_long_body_is_no_head(url: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    status, _, body = exchange(url, head + chunk * 300 + b"0\r\n\r\n")
    assert (status, b"MissingAuthenticationToken" in body) == (403, True)


def test_the_source_is_the_connections(url: str, clients: botocore.session.Session, ledger: Ledger) -> None:
    eb = client(clients, "elasticbeanstalk", url)

    def forward(request: Any, **_: object) -> None:
        request.headers["X-Forwarded-For"] = "203.0.113.9"
        request.headers["X-Forwarded-Proto"] = "https"

    eb.meta.events.register("before-send.elasticbeanstalk.*", forward)
    assert eb.list_available_solution_stacks()["SolutionStacks"] == ["127.0.0.1", url]
    assert ledger.calls[-1][0].caller.source == "127.0.0.1"
