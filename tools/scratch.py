"""A Beanpole of its own in a scratch folder, used as a user would: by the `beanpole` command, and by its API to look.

It takes the usual ports where they are free. `end()` leaves no process behind, and says which ones it had to kill.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beanpole.cli.client import Api
from beanpole.cli.leftovers import Process, leftovers
from beanpole.home import Home

API_PORT, PORT = 8600, 8080
"""What `beanpole up` takes by itself."""

COMMAND_LIMIT = 180.0
"""Seconds for one command. The longest fetches the dependencies of the first deployment."""

LOG_LINES = 15
"""Lines of the control plane's log that an error shows."""


class Broken(Exception):
    """Something is not as it was promised; the message is a sentence for a person."""


class Missing(Broken):
    """Something is missing that we need and that is not ours."""


@dataclass(frozen=True)
class Ran:
    """How a command ended: exit status, the JSON document that it wrote (None: none), its words, its seconds."""

    status: int
    result: Any
    words: list[str]
    seconds: float


@dataclass
class Command:
    """A `beanpole` command that runs. `say` is called with each line that it writes for a person, from a thread."""

    arguments: list[str]
    say: Callable[[str], None] = lambda _: None
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._news = threading.Condition()
        self._result: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "beanpole.cli", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_result, self._read_words)]
        for reader in self._readers:
            reader.start()

    def heard(self, words: str, limit: float) -> bool:
        """Waits until a line has these words. False when the command ended before, or did not say them in time."""
        until = time.monotonic() + limit
        with self._news:
            while not any(words in line for line in self.words):
                left = until - time.monotonic()
                if left <= 0 or self._process.poll() is not None:
                    return False
                self._news.wait(min(left, 0.2))
        return True

    def end(self, limit: float = COMMAND_LIMIT) -> Ran:
        """Waits for its end. Broken when that takes too long: then it is killed."""
        try:
            status = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Broken(f"`beanpole {self.arguments[0]}` did not end within {limit:.0f} s") from None
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        for reader in self._readers:
            reader.join(5)
        text = "".join(self._result)
        return Ran(status, json.loads(text) if text.strip() else None, self.words, time.monotonic() - self._began)

    def _read_result(self) -> None:
        assert self._process.stdout is not None
        self._result.extend(self._process.stdout)

    def _read_words(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.words.append(line.rstrip())
                self._news.notify_all()
            self.say(line.rstrip())


class Scratch:
    """A home, two ports and what runs there. Nothing runs before `up`."""

    def __init__(self, name: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix=f"beanpole-{name}-")).resolve()
        self.home = Home(self.root / "home")
        self.api = Api(self.home)
        self.api_port, self.port = free_port(API_PORT), free_port(PORT)

    def up(self) -> float:
        """Starts the control plane; the seconds until the command returned, which is when the API answers."""
        return self.run("up", "--detach", "--api-port", str(self.api_port), "--port", str(self.port)).seconds

    def down(self) -> None:
        self.run("down")

    def kill(self) -> int:
        """kill -9 of the control plane; its pid. Returns when it is gone."""
        pid = self.home.holder()
        if pid is None:
            raise Broken("there is no control plane to kill")
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while self.home.holder() == pid:
            if time.monotonic() > until:
                raise Broken(f"the control plane (pid {pid}) survived kill -9")
            time.sleep(0.01)
        return pid

    def begin(self, *words: str, say: Callable[[str], None] = lambda _: None) -> Command:
        return Command([words[0], "--home", str(self.home.root), "--json", *words[1:]], say)

    def run(self, *words: str, say: Callable[[str], None] = lambda _: None, check: bool = True) -> Ran:
        """One command, until its end. Broken with its last words when `check` and it failed."""
        ran = self.begin(*words, say=say).end()
        if check and ran.status != 0:
            said = "\n".join(ran.words[-4:])
            raise Broken(f"`beanpole {words[0]}` ended with exit status {ran.status}:\n{said}")
        return ran

    def operation(self, operation_id: str) -> dict[str, Any]:
        """One operation as the API describes it."""
        found = self.api.beanpole("DescribeOperations", OperationId=operation_id)["Operations"]
        if not found:
            raise Broken(f"the operation {operation_id} is not known")
        answer: dict[str, Any] = found[0]
        return answer

    def log(self) -> str:
        """The end of the control plane's log."""
        if not self.home.log.exists():
            return ""
        return "\n".join(self.home.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def end(self, keep: bool = False) -> list[Process]:
        """Ends everything, and removes the folder unless `keep`. Answers the processes that had to be killed."""
        failed: Broken | None = None
        if self.home.root.exists():
            try:
                self.run("down", "--all", "--yes")
            except Broken as problem:
                failed = problem
        left = leftovers(self.home.root)
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)
        if failed is not None and not left:
            raise failed
        return left


def environment() -> dict[str, str]:
    """This one, without what would lead to another Beanpole or another cloud."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "BEANPOLE_HOME" and not (name.startswith("AWS_") and name != "AWS_CA_BUNDLE")
    }


def free_port(wanted: int = 0) -> int:
    """That port of 127.0.0.1 if nothing has it, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Broken("127.0.0.1 has no free port")
