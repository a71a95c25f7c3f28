"""The TCP port on which a balancer takes requests: is it free, and does anybody answer there now."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import Any

from .deadline import within
from .http import HttpError
from .kernel import Kernel

CONNECT_SECONDS = 0.25  # to a listener on this machine


@dataclass(frozen=True)
class Port:
    """Where clients connect. The address may be a wildcard (0.0.0.0, ::)."""

    address: str
    number: int

    @classmethod
    def of(cls, value: Any) -> Port:
        """From {"address", "port"}. HttpError 400 for anything else."""
        address, number = (value.get("address"), value.get("port")) if isinstance(value, dict) else (None, None)
        if not isinstance(address, str) or not isinstance(number, int) or not 1 <= number <= 65535:
            raise HttpError(400, f'listen must be {{"address": IP, "port": 1-65535}}, not {value!r}')
        return cls(address, number)

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def words(self) -> str:
        return f"[{self.address}]:{self.number}" if ":" in self.address else f"{self.address}:{self.number}"

    def shared(self) -> socket.socket:
        """A socket bound there beside those of Envoy, not listening yet, never blocking. OSError when that fails."""
        bound = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Connections that somebody else took before the port was shared are no hindrance.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setblocking(False)
            bound.bind((self.address, self.number))
        except BaseException:
            bound.close()
            raise
        return bound

    async def connect(self, seconds: float = CONNECT_SECONDS) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        """A connection to whoever listens there. OSError when nobody takes it in time."""
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)  # noqa: S104 (binds nothing)
        try:
            return await within(seconds, asyncio.open_connection(target, self.number))
        except asyncio.TimeoutError as error:
            raise OSError(f"{self.words} takes no connection") from error

    def check_free(self, kernel: Kernel) -> None:
        """HttpError 409 when somebody else has it: Envoys of one user would share it, each with other routes."""
        with socket.socket(self._family, socket.SOCK_STREAM) as probe:
            # Connections that are just being forgotten do not count as somebody; a listener does even so.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((self.address, self.number))
            except OSError as error:
                raise self._refusal(error, kernel) from error

    async def accepts(self) -> bool:
        """Whether a connection is taken there at this moment."""
        try:
            _, writer = await self.connect()
        except OSError:
            return False
        writer.close()
        return True

    def _refusal(self, error: OSError, kernel: Kernel) -> HttpError:
        remedy = "Choose another one with --port."
        if error.errno == errno.EADDRINUSE:
            pid = kernel.listener(self.number)
            holder = f"process {pid} ({kernel.command(pid)})" if pid else "another program"
            cause = f"port {self.number} on {self.address} is taken by {holder}"
        elif error.errno == errno.EACCES:
            cause = f"port {self.number} on {self.address} is reserved for root"
        elif error.errno == errno.EADDRNOTAVAIL:
            cause, remedy = f"{self.address} is not an address of this machine", "Use 127.0.0.1 or 0.0.0.0."
        else:
            cause = f"{self.words} cannot be listened on: {error.strerror}"
        return HttpError(409, cause, remedy=remedy, address=self.address, port=self.number)
