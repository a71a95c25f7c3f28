"""Real agents for tests: the program that is sent to instances, spoken to through the control plane's client."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from beanpole.agent.kernel import this_kernel
from beanpole.fleet.agent_client import AgentClient, AgentUnreachable, at_socket

DEADLINE = 15.0  # seconds after which a test says what it waited for in vain
T = TypeVar("T")

# Not http.server, whose import takes longer than all that the agent does in a test.
WEB = """
import os, socket
status, body = os.environ.get("STATUS", "200"), os.environ.get("BODY", "fine") + chr(10)
reason = {"200": "OK", "500": "Internal Server Error", "503": "Service Unavailable"}[status]
answer = f"HTTP/1.1 {status} {reason}\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n{body}"
with socket.create_server((os.environ.get("BIND", "127.0.0.1"), int(os.environ["PORT"]))) as server:
    print("web begins", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            if connection.recv(4096):
                connection.sendall(answer.encode())
"""
HEALTH = {"path": "/", "codes": [[200, 399]], "timeout": 2}
PYTHON = f"{sys.executable} -S"


def eventually(what: str, look: Callable[[], T]) -> T:
    """The first true value of `look`."""
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        value = look()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {DEADLINE:g} s in vain until {what}")


class Site:
    """One home, its agent (if it runs), and the blobs that a control plane would have sent."""

    def __init__(self, folder: Path, program: Path, python: str = sys.executable) -> None:
        self.home = folder / "home"
        self.blobs = folder / "blobs"
        self.sockets = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
        self.socket = self.sockets / "a.sock"
        self.address = "127.0.0.7"
        self.store = "store-1"
        self.epoch = 1
        self._keys = itertools.count(1)
        self._program = program
        self._python = python
        self._agent: subprocess.Popen[bytes] | None = None

    def words(self, *more: str, **changed: str) -> list[str]:
        options = {"home": str(self.home), "socket": str(self.socket), "store": self.store, "role": "instance"}
        options.update({"address": self.address, **changed})
        given = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [self._python, "-I", str(self._program), "run", *given, *more]

    def start(self, *more: str) -> Site:
        self._agent = subprocess.Popen(
            self.words(*more), start_new_session=True, env={**os.environ, "SECRET_OF_THE_CALLER": "x"}
        )
        eventually("the agent answers", lambda: self._agent_is_up())
        return self

    start_again = start

    def _agent_is_up(self) -> bool:
        assert self._agent is not None
        assert self._agent.poll() is None, f"the agent ended with status {self._agent.returncode}"
        try:
            return bool(self.ask(lambda client: client.hello())["pid"] == self._agent.pid)
        except AgentUnreachable:
            return False

    def kill(self) -> None:
        """kill -9, as a machine in need of memory does it."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._agent is not None
        self._agent.send_signal(number)
        return self._agent.wait(timeout=DEADLINE)

    @property
    def pid(self) -> int:
        assert self._agent is not None
        return self._agent.pid

    def client(self, store: str | None = None) -> AgentClient:
        return AgentClient(at_socket(self.socket), str(self.socket), store or self.store)

    def ask(self, question: Callable[[AgentClient], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(question(self.client()))

    def key(self) -> str:
        return f"op-1/{next(self._keys)} step"

    def job(self, kind: str, job_key: str | None = None, **arguments: Any) -> dict[str, Any]:
        """The result of a job, or its error."""
        return self.ask(lambda client: client.run_job(job_key or self.key(), kind, arguments, self.epoch))

    def put(self, kind: str, **arguments: Any) -> str:
        """Starts a job and leaves it alone."""
        key = self.key()
        self.ask(lambda client: client.put_job(key, kind, arguments, self.epoch))
        return key

    def state(self) -> dict[str, Any]:
        return self.ask(lambda client: client.state())

    def process(self, release: str, name: str = "web") -> dict[str, Any]:
        """What /state tells of one process; {} when it does not know it."""
        found = [each for each in self.state()["processes"] if (each["release"], each["name"]) == (release, name)]
        return dict(found[0]) if found else {}

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        return self.ask(lambda client: client.events(after))

    def log(self, name: str = "engine.log") -> str:
        return (self.home / "log" / name).read_text()

    def blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self.blobs / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return digest

    def files(self, texts: dict[str, str]) -> list[list[Any]]:
        """A manifest with these files; their blobs are made."""
        return [[path, 0o644, self.blob(text.encode()), len(text.encode())] for path, text in sorted(texts.items())]

    def fetch(self, release: str, texts: dict[str, str] | None = None, manifest: list[list[Any]] | None = None) -> Any:
        entries = manifest if manifest is not None else self.files(texts if texts is not None else {"web.py": WEB})
        return self.job("fetch", release=release, manifest=entries, source=str(self.blobs))

    def prepare(
        self,
        release: str,
        processes: dict[str, str] | None = None,
        texts: dict[str, str] | None = None,
        **more: Any,
    ) -> str:
        """A release that could be started."""
        self.fetch(release, texts)
        lines = processes if processes is not None else {"web": f"{PYTHON} web.py"}
        named = [{"name": name, "command": command} for name, command in lines.items()]
        self.job("prepare", release=release, processes=named, **{"environment": {}, "layer": None, **more})
        return release

    def run_web(self, release: str, **more: Any) -> dict[str, Any]:
        arguments = {"health": HEALTH, "deadline": DEADLINE, "fixed_port": None, **more}
        return self.job("start", release=release, **arguments)

    def record(self, key: str) -> dict[str, Any]:
        """The record of a job on disk."""
        for path in (self.home / "jobs").glob("*.json"):
            record: dict[str, Any] = json.loads(path.read_text())
            if record["key"] == key:
                return record
        return {}

    def close(self) -> None:
        """Ends the agent and all that bears a mark of this home."""
        if self._agent is not None and self._agent.poll() is None:
            self._agent.kill()
            self._agent.wait()
        if (self.home / "home.json").exists():
            kernel = this_kernel()
            prefix = json.loads((self.home / "home.json").read_text())["id"]
            for pid in kernel.marked(prefix):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.sockets)


def alive(pid: int) -> bool:
    """Whether that process runs (and does not only wait to be reaped)."""
    return this_kernel().identity(pid) is not None
