"""Agents as processes of this machine: started so that they outlive the control plane, found again after a restart."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from beanpole.fleet.agent_client import AgentClient, AgentUnreachable, at_socket

SOCKET_LIMIT = 100
"""Bytes of a unix socket's path; systems refuse more than 104 or 108."""

START_LIMIT = 15.0
"""Seconds for a started agent to answer."""

END_LIMIT = 30.0
"""Seconds for an agent that said goodbye to end."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


class AgentWillNotStart(Exception):
    """The agent's process ended, or never answered; the message has its last words."""


class DetachedAgent:
    """The agent of one folder. `client()` answers one that works, after starting the agent when that is needed."""

    def __init__(self, home: Path, program: Path, store: str, role: str, address: str = "") -> None:
        self.home = home
        self.socket = socket_path(home)
        self.address = address
        self._store = store
        self._words = [sys.executable, "-I", str(program), "run", "--home", str(home), "--socket", str(self.socket)]
        self._words += ["--store", store, "--role", role]
        if address:
            self._words += ["--address", address]
        self._starting = asyncio.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    async def client(self) -> AgentClient:
        client = self._client()
        async with self._starting:
            try:
                await client.hello()
            except AgentUnreachable:
                await self._start(client)
        return client

    async def running(self) -> AgentClient | None:
        """The client of an agent that answers now; None, and nothing is started, when there is none."""
        client = self._client()
        try:
            await client.hello()
        except AgentUnreachable:
            return None
        return client

    def _client(self) -> AgentClient:
        return AgentClient(at_socket(self.socket), str(self.socket), self._store)

    async def _start(self, client: AgentClient) -> None:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with (self.home / "agent.log").open("ab") as log:
            # Not asyncio's subprocess: its transport kills the child when the loop is closed.
            child = subprocess.Popen(  # noqa: ASYNC220
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.home,
                start_new_session=True,
            )
        self._child = child
        loop = asyncio.get_running_loop()
        limit = loop.time() + START_LIMIT
        while loop.time() < limit:
            try:
                await client.hello()
            except AgentUnreachable:
                # 3: another agent holds the folder, which is on its way to answering or to its end.
                if child.poll() not in (None, 3):
                    raise AgentWillNotStart(self._last_words(child.returncode)) from None
                await asyncio.sleep(0.02)
            else:
                return
        raise AgentWillNotStart(self._last_words(child.poll()))

    async def end(self) -> None:
        """Stop everything that the agent keeps running, and the agent; returns when its process has ended.

        An agent that died is started again for that: only an agent knows which processes belong to its folder.
        """
        await self._end(await self.client(), processes=True)

    async def leave(self) -> None:
        """End the agent alone, if it runs; what it keeps running goes on."""
        client = await self.running()
        if client is not None:
            await self._end(client, processes=False)

    async def _end(self, client: AgentClient, *, processes: bool) -> None:
        await client.shutdown(processes=processes)
        async with asyncio.timeout(END_LIMIT):
            while self._is_held():  # noqa: ASYNC110  a lock cannot be awaited
                await asyncio.sleep(0.02)
        self.reap()
        self.socket.unlink(missing_ok=True)
        (self.home / "agent.lock").unlink(missing_ok=True)

    def _is_held(self) -> bool:
        """Whether an agent has the folder: it holds a lock for as long as it lives."""
        try:
            descriptor = os.open(self.home / "agent.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def reap(self) -> None:
        """Take the exit status of an agent that this process started and that ended."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def _last_words(self, status: int | None) -> str:
        log = self.home / "agent.log"
        lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        how = f"ended with exit status {status}" if status is not None else f"did not answer within {START_LIMIT:.0f} s"
        return f"the agent in {self.home} {how}: {' | '.join(lines) or 'it said nothing'}"


def socket_path(home: Path) -> Path:
    """Inside the agent's folder, or, where that path is too long for a socket, in a private folder of a short name."""
    inside = home / "agent.sock"
    if len(os.fsencode(inside)) <= SOCKET_LIMIT:
        return inside
    short = Path(tempfile.gettempdir()) / f"beanpole-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    owner = short.stat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise AgentWillNotStart(
            f"{short} belongs to somebody else or is open to others: remove it, or use a shorter home"
        )
    return short / f"{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}.sock"
