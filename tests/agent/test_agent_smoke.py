"""The jobs smoke and gate of a release: its endpoints are asked as they should be, its log is looked through."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_site import HEALTH, PYTHON, Site

from beanpole.agent.smoke import BODY_LIMIT, Finding, Question, ask
from beanpole.fleet.agent_client import JobFailed

Answering = Callable[[bytes], int]
SERVER = """
import os, socket
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            asked = connection.recv(4096).decode()
            if not asked:
                continue
            path = asked.split(" ")[1]
            status, body = {"/": (200, "fine"), "/version": (200, "v2"), "/bad": (500, "NameError: model")}.get(
                path, (404, "nothing"))
            if path == "/host":
                status, body = 200, asked
            if path == "/bad":
                print("Traceback (most recent call last):\\n  File\\nNameError: model", flush=True)
            connection.sendall(f"HTTP/1.1 {status} So\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
"""


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Serves these bytes to one connection, whatever it asks, and leaves the connection open; its port."""
    servers: list[socket.socket] = []
    taken: list[socket.socket] = []

    def serve(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def once() -> None:
            connection, _ = server.accept()
            taken.append(connection)
            connection.recv(65536)
            connection.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        return int(server.getsockname()[1])

    yield serve
    for each in (*servers, *taken):
        each.close()


def asked(port: int, **changed: Any) -> Finding:
    values = {"method": "GET", "path": "/x", "low": 200, "high": 200, "text": "", "seconds": 5.0} | changed
    return asyncio.run(ask("127.0.0.1", port, "shop.localhost", Question(**values)))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "changed", "ok", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", {"text": "hello"}, True, "answered 200 OK"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", {"text": "bye"}, False, "answered 200 OK"),
        (CHUNKED, {"text": "hello"}, True, "answered 200 OK"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"low": 200, "high": 299}, True, "answered 204 No Content"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {}, True, "answered 200 OK"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", {"method": "HEAD"}, True, "answered 200 OK"),
        (b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", {}, False, "answered 302 Found"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", {}, False, "answered something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", {"seconds": 0.2}, False, "gave no whole answer within 0.2 s"),
    ],
)
def test_an_answer_is_judged(
    answering: Answering, answer: bytes, changed: dict[str, Any], ok: bool, words: str
) -> None:
    finding = asked(answering(answer), **changed)
    assert (finding.ok, finding.words) == (ok, words)


def test_of_a_long_body_the_beginning_is_read(answering: Answering) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {10 * BODY_LIMIT}\r\n\r\n".encode()
    assert asked(answering(head + b"x" * BODY_LIMIT)).ok
    assert not asked(answering(head + b"x" * BODY_LIMIT + b"late" * BODY_LIMIT), text="late").ok


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    finding = asked(port, text="v2")
    assert not finding.answered
    assert finding.told == 'GET /x: expected 200 containing "v2" within 5 s; it refused the connection'


def smoke(site: Site, release: str, *tests: tuple[Any, ...]) -> Any:
    names = ("method", "path", "low", "high", "text", "seconds")
    given = [dict(zip(names, (*test, 5.0), strict=True)) for test in tests]
    return site.job("smoke", release=release, tests=given, host="shop.localhost:8080")


@pytest.fixture
def release(shared_site: Site) -> Iterator[tuple[Site, str]]:
    site = shared_site
    site.prepare("smoked", {"web": f"{PYTHON} web.py"}, {"web.py": SERVER})
    site.run_web("smoked")
    yield site, "smoked"
    site.job("stop", release="smoked", names=None, grace=2)


def test_a_release_passes_with_the_host_that_its_users_have(release: tuple[Site, str]) -> None:
    tests = (("GET", "/version", 200, 200, "v2"), ("GET", "/host", 200, 200, "Host: shop.localhost:8080"))
    assert smoke(*release, *tests) == {"passed": 2}


def test_all_that_fails_is_said_with_what_came_instead(release: tuple[Site, str]) -> None:
    tests = (("GET", "/", 200, 200, ""), ("GET", "/bad", 200, 200, ""), ("GET", "/version", 200, 299, "v3"))
    with pytest.raises(JobFailed) as caught:
        smoke(*release, *tests)
    assert caught.value.stage == "smoke test"
    assert caught.value.message == (
        "GET /bad: expected 200 within 5 s; it answered 500 So: NameError: model; "
        'GET /version: expected 200-299 containing "v3" within 5 s; it answered 200 So: v2'
    )
    assert "NameError: model" in caught.value.last_lines


def test_a_release_that_does_not_run_cannot_pass(shared_site: Site) -> None:
    with pytest.raises(JobFailed, match="web of release gone does not run"):
        smoke(shared_site, "gone", ("GET", "/", 200, 200, ""))


def test_the_gate_tells_what_errors_the_release_wrote(release: tuple[Site, str]) -> None:
    site, digest = release
    gate = {"release": digest, "health": HEALTH, "checks": 1, "interval": 0, "deadline": 5}
    assert site.job("gate", **gate)["errors"] == {"count": 0, "last": "", "lines": []}
    with pytest.raises(JobFailed):
        smoke(site, digest, ("GET", "/bad", 200, 200, ""))
    found = site.job("gate", **gate)["errors"]
    assert (found["count"], found["last"]) == (1, "NameError: model")
