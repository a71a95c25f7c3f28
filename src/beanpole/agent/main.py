"""The agent's program: `agent.pyz run --home DIR --socket PATH --store STORE --role instance|balancer [--address IP]
[--user NAME]`. On a server that is reached over SSH, `agent.pyz stdio` and `agent.pyz receive --root DIR` are the far
ends of that; `agent.pyz static` serves files of a release; `agent.pyz relay` passes on connections that were made to
somebody else.

One agent per home. It ends at SIGTERM; what it started goes on, and the next agent finds it again.
Exit statuses: 2 wrong arguments, 3 another agent serves this home or socket, 4 the home cannot be read or written,
or systemd does not answer, 5 the home belongs to another control plane.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol

from . import durable
from .enginelog import EngineLog
from .events import EventLog
from .failure import JobFailure
from .http import HttpError, Request, Response, Routes, Server
from .jobs import Authority, Refused

PROTOCOLS = (1, 1)  # oldest and newest version of the API that this agent speaks
SOCKET_LIMIT = 100  # bytes of the socket's path: macOS takes 103, Linux 107
SHUTDOWN_GRACE = 30.0  # seconds for processes when the agent is told to end them, and not how long they have
GRACE_LIMIT = 3600.0  # seconds: as much as a setting can give to a process that ends
SHUTDOWN_DELAY = 0.05  # seconds for the answer to POST /shutdown to leave before the agent does

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")  # of a user, and of an instance in the names of its units


class Refusal(Exception):
    """The agent does not start. `status` is its exit status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Role(Protocol):
    """What an agent does beside answering who it is."""

    async def start(self) -> None: ...

    async def stop(self, processes: bool, grace: float) -> None:
        """Processes go on unless told otherwise; then they have `grace` seconds. May be called again."""
        ...

    def routes(self) -> Routes: ...


class Agent:
    """One agent from its start to its end."""

    def __init__(self, arguments: argparse.Namespace, version: str) -> None:
        self._arguments = arguments
        self._version = version
        self._home = Path(arguments.home)
        self._started_at = time.time()
        self._log = EngineLog(self._home / "log" / "agent.log")
        self._events = EventLog(self._home)
        self._authority = Authority(self._home, arguments.store, arguments.force)
        self._over = asyncio.Event()
        self._stopping = False
        self._role = self._make_role()

    async def run(self, listening: socket.socket) -> None:
        """Serves until SIGTERM, SIGINT or POST /shutdown."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        self._log.line(f"Agent {self._version} starts: process {os.getpid()}, Python {sys.version.split()[0]}")
        await self._role.start()
        server = Server(self._routes(), self._report)
        await server.start(listening)
        with contextlib.suppress(OSError):  # for people to look at; a full disk must not keep the agent from serving
            durable.write_json(self._home / "agent.json", {**self._hello(), "socket": self._arguments.socket})
        # What the imports left is never freed: looking through it again and again costs time and unshares memory.
        gc.collect()
        gc.freeze()
        await self._over.wait()
        await server.stop()
        if not self._stopping:
            await self._role.stop(processes=False, grace=SHUTDOWN_GRACE)
        self._log.line("Agent ends")

    def _make_role(self) -> Role:
        # Imported here: what the other role needs would be half of this program's start.
        if self._arguments.role == "instance":
            from .role import InstanceRole

            user = self._arguments.user
            return InstanceRole(self._home, self._arguments.address, self._events, self._authority, self._report, user)
        from .envoy import BalancerRole

        return BalancerRole(self._home, self._events, self._arguments.store)

    def _routes(self) -> Routes:
        return {
            ("GET", "/hello"): self._get_hello,
            ("GET", "/events"): self._get_events,
            ("POST", "/shutdown"): self._shutdown,
            **self._role.routes(),
        }

    async def _get_hello(self, request: Request) -> Response:
        return Response.of(self._hello())

    def _hello(self) -> Dict[str, Any]:
        return {
            "protocol": list(PROTOCOLS),
            "version": self._version,
            "pid": os.getpid(),
            "store": self._authority.store,
            "role": self._arguments.role,
            "started_at": self._started_at,
        }

    async def _get_events(self, request: Request) -> Response:
        return Response.of({"events": self._events.after(int(request.number("after", 0, 0, 2**53)))})

    async def _shutdown(self, request: Request) -> Response:
        """{"processes", "grace": seconds}. Answers when the processes have ended, if they shall; then it ends, too."""
        body = request.json()
        grace = body.get("grace", SHUTDOWN_GRACE)
        if isinstance(grace, bool) or not isinstance(grace, (int, float)) or grace != grace:
            raise HttpError(400, "grace must be a number of seconds")
        self._stopping = True
        await self._role.stop(body.get("processes") is True, min(max(float(grace), 0.0), GRACE_LIMIT))
        asyncio.get_running_loop().call_later(SHUTDOWN_DELAY, self._over.set)
        return Response.of({"pid": os.getpid()})

    def _report(self, text: str) -> None:
        self._log.line(text, "ERROR")

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: Dict[str, Any]) -> None:
        error = context.get("exception")
        self._report(f"{context.get('message')}: {type(error).__name__ if error else ''} {error or ''}")


def main(version: str = "source", words: Optional[List[str]] = None) -> int:
    """Runs the program. Its exit status."""
    arguments = _parser(version).parse_args(words)
    try:
        return int(arguments.begin(arguments, version))
    except Refusal as refusal:
        print(f"beanpole agent: {refusal}", file=sys.stderr)
        return refusal.status


def _run(arguments: argparse.Namespace, version: str) -> int:
    home, path = Path(arguments.home), Path(arguments.socket)
    if arguments.user is not None and not (_NAME.fullmatch(arguments.user) and _NAME.fullmatch(home.name)):
        raise Refusal(2, f"units need plain names, of the user as of the home's folder: {arguments.user}, {home.name}")
    if len(os.fsencode(path)) > SOCKET_LIMIT:
        raise Refusal(2, f"the socket's path is longer than {SOCKET_LIMIT} bytes, which the system forbids: {path}")
    os.umask(0o077)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, it would hide how processes end
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal of whoever started us may close
    _open_home(home, arguments.user is not None)
    # What applications are given besides their properties: a home that is not the user's, which has keys and caches of
    # its owner, and the address that is this instance's own. Commands that run as root, where applications do not, have
    # another one: what an application puts into its home must not meet root.
    os.environ["HOME"] = str(home / ("home" if arguments.user is None else "commands"))
    os.environ["BEANPOLE_ADDRESS"] = arguments.address
    lock = _lock(home)
    try:
        listening = _listen(path)
        try:
            asyncio.run(_serve(arguments, version, listening))
        finally:
            listening.close()
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)
    return 0


async def _serve(arguments: argparse.Namespace, version: str, listening: socket.socket) -> None:
    try:
        agent = Agent(arguments, version)
        await agent.run(listening)
    except Refused as refusal:
        raise Refusal(5, f"{refusal}; --force makes it ours") from refusal
    except (durable.Damaged, JobFailure) as error:
        raise Refusal(4, str(error)) from error


def _stdio(arguments: argparse.Namespace, version: str) -> int:
    from .stdio import serve  # here, as for roles: no other command needs it

    return serve(Path(arguments.folder), version)


def _receive(arguments: argparse.Namespace, version: str) -> int:
    from .receive import receive

    return receive(Path(arguments.root))


def _static(arguments: argparse.Namespace, version: str) -> int:
    from .static_process import mapping_of
    from .static_server import run

    return run(arguments.root, mapping_of(arguments.map), arguments.address, int(os.environ["PORT"]))


def _relay(arguments: argparse.Namespace, version: str) -> int:
    from .port import Port
    from .relay import run

    return run(Port(arguments.address, arguments.port))


def _open_home(home: Path, passable: bool) -> None:
    """`passable`: another user's applications reach their folders in it, and see nothing else."""
    try:
        (home / "log").mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("home", "commands") if passable else ("home",):
            (home / name).mkdir(exist_ok=True, mode=0o700)
        home.chmod(0o711 if passable else 0o700)
    except OSError as error:
        raise Refusal(4, f"the home {home} cannot be written to: {error.strerror}") from error


def _lock(home: Path) -> int:
    """Holds DIR/agent.lock as long as this process lives."""
    try:
        descriptor = os.open(home / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refusal(4, f"the home {home} cannot be written to: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise Refusal(3, f"another agent (process {holder or 'unknown'}) already serves the home {home}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _listen(path: Path) -> socket.socket:
    """The socket, bound; what a dead agent left there is removed, a living one's is not."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        except OSError as error:
            raise Refusal(4, f"the socket {path} cannot be used: {error.strerror}") from error
        else:
            raise Refusal(3, f"another agent already listens on {path}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        listening.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        listening.close()
        raise Refusal(4, f"the socket {path} cannot be made: {error.strerror}") from error
    return listening


def _parser(version: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="Runs beside a workload of Beanpole.")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve one home until SIGTERM")
    run.set_defaults(begin=_run)
    run.add_argument("--home", required=True, help="folder of this agent alone")
    run.add_argument("--socket", required=True, help=f"unix socket to serve, at most {SOCKET_LIMIT} bytes")
    run.add_argument("--store", required=True, help="identity of the control plane's store")
    run.add_argument("--role", required=True, choices=("instance", "balancer"))
    run.add_argument("--address", default="127.0.0.1", help="address of this instance")
    run.add_argument("--user", help="system user whose systemd units applications are (without: children of the agent)")
    run.add_argument("--force", action="store_true", help="take over a home of another control plane")
    stdio = commands.add_parser("stdio", help="join streams on stdin and stdout to the sockets of agents")
    stdio.set_defaults(begin=_stdio)
    stdio.add_argument("--folder", default="/run/beanpole", help="where those sockets are (default: %(default)s)")
    receive = commands.add_parser("receive", help="take content-addressed files on stdin")
    receive.set_defaults(begin=_receive)
    receive.add_argument("--root", required=True, help="folder of those files")
    static = commands.add_parser("static", help="serve files of a release on the port in the variable PORT")
    static.set_defaults(begin=_static)
    static.add_argument("--root", required=True, help="folder of the release")
    static.add_argument("--address", required=True, help="IP address to listen on")
    static.add_argument("--map", action="append", required=True, metavar="PATH=FOLDER", help="folder below the root")
    relay = commands.add_parser("relay", help="pass on connections that come as descriptors on stdin")
    relay.set_defaults(begin=_relay)
    relay.add_argument("--address", required=True, help="IP address of who answers them")
    relay.add_argument("--port", required=True, type=int, help="the port there")
    return parser
