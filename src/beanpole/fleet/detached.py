"""Agents as processes of this machine: started so that they outlive the control plane, found again after a restart.

An agent that has its folder and answers nobody is ended and followed by another: what it keeps running does not notice.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from beanpole.fleet.agent_client import AgentClient, AgentUnreachable, at_socket
from beanpole.fleet.holder import Holder, NotOurs

SOCKET_LIMIT = 100
"""Bytes of a unix socket's path; systems refuse more than 104 or 108."""

START_LIMIT = 15.0
"""Seconds for a started agent to answer."""

STUCK_LIMIT = 3.0
"""Seconds for which an agent that cannot answer keeps its folder: one that was stopped (somebody may be about to let it
go on), or whose socket is gone (one that ends removes it, and is gone a moment later)."""

BUSY_LIMIT = 30.0
"""Seconds for which an agent that only does not answer keeps its folder. Between two answers its own work takes
milliseconds; on a machine that starts many applications at once, or writes to a disk that is nearly full, more than ten
seconds were seen. To end it is no outage, but it interrupts its jobs, and a command that must run only once fails its
deployment then."""

HELLO = (1.0, 10.0)
"""Seconds for the first answer to a hello, and at most for a later one: doubled each time that was too short."""

END_LIMIT = 30.0
"""Seconds beyond their grace for processes to end, and for an agent that said goodbye."""

GRACE = 30.0
"""Seconds for applications to finish what they do when nothing else is asked for."""

LOOK = 0.02
"""Seconds between looks at an agent that is starting or ending."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")

log = structlog.get_logger("fleet")


class AgentWillNotStart(Exception):
    """The agent's process ended, or never answered; the message has its last words."""


class DetachedAgent:
    """The agent of one folder. `client()` answers one that works, after starting the agent when that is needed.

    One object per folder and control plane: it sees to it that an agent which is being ended is not started again.
    """

    def __init__(self, home: Path, program: Path, store: str, role: str, address: str = "") -> None:
        self.home = home
        self.socket = socket_path(home)
        self.address = address
        self._store = store
        self._words = [sys.executable, "-I", str(program), "run", "--home", str(home), "--socket", str(self.socket)]
        self._words += ["--store", store, "--role", role]
        if address:
            self._words += ["--address", address]
        self._holder = Holder(home)
        self._starting = asyncio.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._ended = False

    async def client(self) -> AgentClient:
        """AgentWillNotStart when it cannot be started or ended, AgentUnreachable when `end` was called."""
        client = self._client()
        if not self._ending:  # else the lock is held for as long as applications need to end
            async with self._starting:
                if not self._ending:
                    await self._reach()
                    return client
        if not self._ended:
            await client.hello()
            return client
        raise AgentUnreachable(f"the agent in {self.home} was ended")

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

    async def _reach(self) -> None:
        """Returns when the agent answers. One that died is started again; one that hangs is ended first."""
        loop = asyncio.get_running_loop()
        patience = HELLO[0]
        first = began = silent = loop.time()
        stuck: float | None = None
        child: subprocess.Popen[bytes] | None = None
        while True:
            asked = loop.time()
            if await self._answers(patience if stuck is None else HELLO[0]):
                return
            now = loop.time()
            if now - asked >= patience:
                patience = min(patience * 2, HELLO[1])
            status = child.poll() if child is not None else None
            if child is not None and status is None:
                if now - began > START_LIMIT:
                    raise AgentWillNotStart(self._last_words(None))
            # 3: another agent has the folder, or had it a moment ago.
            elif status not in (None, 3) or (status == 3 and now - first > START_LIMIT + BUSY_LIMIT):
                raise AgentWillNotStart(self._last_words(status))
            elif not self._holder.present():
                child, began, stuck = self._spawn(), now, None
            else:
                child = None
                cannot = self._holder.stopped() or not self.socket.exists()
                stuck = (stuck or now) if cannot else None
                if now - silent > BUSY_LIMIT or (stuck is not None and now - stuck > STUCK_LIMIT):
                    await self._end_holder(f"gave no answer for {now - silent:.0f} s")
                    silent, patience = loop.time(), HELLO[0]
            await asyncio.sleep(LOOK)

    async def _answers(self, seconds: float) -> bool:
        try:
            await AgentClient(at_socket(self.socket), str(self.socket), self._store, timeout=seconds).hello()
        except AgentUnreachable:
            return False
        return True

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with (self.home / "agent.log").open("ab") as output:
            # Not asyncio's subprocess: its transport kills the child when the loop is closed.
            child = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.home,
                start_new_session=True,
            )
        self._child = child
        return child

    def ever_ran(self) -> bool:
        """Whether an agent has had the folder and was not ended: only then can anything of it run."""
        return (self.home / "agent.lock").exists()

    async def end(self, grace: float = GRACE) -> None:
        """Stop everything that the agent keeps running, and the agent; returns when its process has ended.

        Applications have `grace` seconds to finish. An agent that died is started again for that: only an agent knows
        which processes belong to its folder. Afterwards it is never started again by this object.
        """
        self._ending = True  # before the lock, so that nobody waits for it behind this
        try:
            async with self._starting:
                if not self._ended:
                    await self._reach()
                    await self._end({"processes": True, "grace": grace}, grace + END_LIMIT)
                    self._ended = True
        finally:
            self._ending = self._ended

    async def leave(self, *, processes: bool = False) -> None:
        """End the agent, if it runs; what it keeps running goes on, unless `processes`. It may be started again."""
        if await self.running() is not None:
            await self._end({"processes": processes}, END_LIMIT)

    async def _end(self, how: dict[str, object], seconds: float) -> None:
        await self._client().call("POST", "/shutdown", how, timeout=seconds)
        if not await self._holder.gone(END_LIMIT):
            await self._end_holder(f"said goodbye {END_LIMIT:.0f} s ago")
        self.reap()
        self.socket.unlink(missing_ok=True)
        (self.home / "agent.lock").unlink(missing_ok=True)

    async def _end_holder(self, why: str) -> None:
        log.warning("an agent that hangs is ended", home=str(self.home), why=why)
        try:
            await self._holder.end()
        except NotOurs as problem:
            raise AgentWillNotStart(f"the agent in {self.home} {why}, and {problem}") from problem

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
