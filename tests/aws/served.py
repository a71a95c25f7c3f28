"""A gateway on a real port in this process, and real clients of it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import botocore.session
import uvicorn
from botocore.config import Config

from beanpole.aws.call import AccessKey, Call
from beanpole.aws.gateway import UVICORN_OPTIONS, Gateway
from beanpole.aws.models import client_loader

KEY = AccessKey("AKBEANPOLETEST000001", "s3cr3t/of+the=user", "jo")
REGION = "local-1"


def keys(identifier: str) -> AccessKey | None:
    return KEY if identifier == KEY.id else None


class Ledger:
    """What the gateway told its audit and its error log."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, str]] = []
        self.errors: list[tuple[str, Call | None, Exception]] = []
        self._told = threading.Condition()

    def audit(self, call: Call, outcome: str) -> None:
        with self._told:
            self.calls.append((call, outcome))
            self._told.notify_all()

    def wait_for(self, outcome: str) -> None:
        """Until a call has ended like this."""
        with self._told:
            assert self._told.wait_for(lambda: any(found == outcome for _, found in self.calls), timeout=10)

    def on_error(self, request_id: str, call: Call | None, error: Exception) -> None:
        self.errors.append((request_id, call, error))

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(call.operation, outcome) for call, outcome in self.calls]


@contextmanager
def served(app: Gateway | Callable[..., Any]) -> Iterator[str]:
    """The base URL of `app` behind uvicorn, which must have nothing to complain about in the end."""
    complaints = _Complaints(logging.ERROR)
    logging.getLogger("uvicorn.error").addHandler(complaints)
    listener = socket.create_server(("127.0.0.1", 0))  # listens before the thread runs: nobody has to wait for it
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, **UVICORN_OPTIONS))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        logging.getLogger("uvicorn.error").removeHandler(complaints)
    assert complaints.messages == []


class _Complaints(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


def session() -> botocore.session.Session:
    """Expensive: one for a module."""
    made = botocore.session.Session()
    made.register_component("data_loader", client_loader())
    made.set_credentials(KEY.id, KEY.secret)
    return made


def client(of: botocore.session.Session, service: str, url: str, **options: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, **options)
    return of.create_client(service, region_name=REGION, endpoint_url=url, config=config)


def exchange(url: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes on a connection of their own and read one answer until the server closes, or it is complete."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += (piece := connection.recv(65536))
            if not piece:
                raise ConnectionError(f"no answer, only {answer!r}")
        head, _, content = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(content) < int(headers.get("content-length", 0)):
            content += (piece := connection.recv(65536))
            if not piece:
                break
    return int(status.split()[1]), headers, content
