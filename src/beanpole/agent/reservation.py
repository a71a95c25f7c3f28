"""Ports for releases that are about to start, reserved against other agents on this machine.

A port that is free now may be chosen by a neighbour as well, for an application takes seconds until it listens. So
agents agree on ports among themselves first; the kernel ends such a claim when the agent that holds it dies.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import Dict, Iterable, Union

FIRST, LAST = 20000, 29999  # below the ports that Linux gives to outgoing connections (32768 and up)
TRIES = 400  # random ports looked at: only a machine with nearly all of them taken exhausts these


class Ports:
    """The ports that this agent holds."""

    def __init__(self) -> None:
        self._held: Dict[int, Union[socket.socket, int]] = {}

    def choose(self) -> int:
        """A port that nobody listens on at any address, now held. OSError when there is none."""
        for _ in range(TRIES):
            port = FIRST + int.from_bytes(os.urandom(4), "big") % (LAST - FIRST + 1)
            if port not in self._held and self.hold(port):
                if is_free(port):
                    return port
                self.release(port)
        raise OSError(f"no free port between {FIRST} and {LAST}")

    def hold(self, port: int) -> bool:
        """Whether the port is ours now, as far as agents are concerned. True also when it was before."""
        if port in self._held:
            return True
        try:
            self._held[port] = _abstract(port) if sys.platform == "linux" else _lock_file(port)
        except OSError:
            return False
        return True

    def release(self, port: int) -> None:
        held = self._held.pop(port, None)
        if isinstance(held, socket.socket):
            held.close()
        elif held is not None:
            os.close(held)

    def keep(self, ports: Iterable[int]) -> None:
        """Releases all others."""
        for port in set(self._held).difference(ports):
            self.release(port)


def is_free(port: int, address: str = "") -> bool:
    """Whether a server could listen on that port on every address of this machine, or on that one of ours."""
    places = [(socket.AF_INET, address or "0.0.0.0"), (socket.AF_INET, "127.0.0.1")]  # noqa: S104 (never listening)
    if _can_bind(socket.AF_INET6, "::1", 0):
        places += [(socket.AF_INET6, "::1"), *([] if address else [(socket.AF_INET6, "::")])]
    return all(_can_bind(family, address, port) for family, address in places)


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return False
    with probe:
        # As servers do: the last connections of whoever had the port before are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _abstract(port: int) -> socket.socket:
    """A name that exists once in the network namespace, just as the port does, and dies with its holder."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0beanpole-port-{port}")
    except OSError:
        holder.close()
        raise
    return holder


def _lock_file(port: int) -> int:
    folder = Path(f"/tmp/beanpole-ports-{os.getuid()}")  # noqa: S108 (must be the same for all agents of this user)
    folder.mkdir(exist_ok=True, mode=0o700)
    descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
