"""One attempt to reach a server: TCP (or a jump host), the pinned host key, the login with the user's keys.

It never asks a question and reads no SSH configuration: all that counts is in the address. Passwords are never sent.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.failure import (
    ConnectionFailed,
    HostKeyChanged,
    HostKeyUnknown,
    LoginRefused,
    SessionRefused,
    Unreachable,
)
from beanpole.fleet.servers.host_key import HostKey, preferred

CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr"
"""The quickest first: 61 MB/s, where the default of asyncssh made 33 (one core, 2026)."""

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL)


@dataclass(frozen=True)
class Limits:
    """Seconds: for TCP to connect, for the login after that, between signs of life; how many of those may be missed."""

    connect: float = 10.0
    login: float = 15.0
    alive: float = 5.0
    missed: int = 3


async def dial(address: Address, pinned: HostKey | None, limits: Limits) -> asyncssh.SSHClientConnection:
    """An open connection, logged in. HostKeyUnknown when no key is pinned; any other ConnectionFailed."""
    tunnel = await _tunnel(address, limits)
    try:
        line = await _Hop(address, str(address), limits, tunnel, pinned).login()
    except BaseException:
        if tunnel is not None:
            tunnel.close()
        raise
    return line


async def fetch_host_key(address: Address, limits: Limits | None = None) -> HostKey:
    """The key that the server shows; nobody logs in there (but in the jump hosts). ConnectionFailed."""
    limits = limits or Limits()
    tunnel = await _tunnel(address, limits)
    try:
        return await _Hop(address, str(address), limits, tunnel, None).learn()
    finally:
        if tunnel is not None:
            tunnel.close()


async def _tunnel(address: Address, limits: Limits) -> asyncssh.SSHClientConnection | None:
    """The connection to the last of the address's jump hosts; those before it end with it."""
    tunnel: asyncssh.SSHClientConnection | None = None
    for jump in address.jumps():
        try:
            tunnel = await _Hop(jump, f"the jump host {jump}", limits, tunnel, None, through=True).login()
        except BaseException:
            if tunnel is not None:
                tunnel.close()
            raise
    return tunnel


class _Hop(asyncssh.SSHClient):
    """One host on the way, and how far we came with it."""

    def __init__(
        self,
        address: Address,
        words: str,
        limits: Limits,
        tunnel: asyncssh.SSHClientConnection | None,
        pinned: HostKey | None,
        through: bool = False,
    ) -> None:
        self._address = address
        self._words = words
        self._limits = limits
        self._tunnel = tunnel
        self._pinned = pinned
        self._through = through  # it only passes on what is encrypted for somebody else
        self._line: asyncssh.SSHClientConnection | None = None
        self._clock: asyncio.Timeout | None = None
        self._offered: HostKey | None = None
        self._methods: tuple[str, ...] = ()
        self._notes: list[str] = []
        self._asked = False

    async def login(self) -> asyncssh.SSHClientConnection:
        keys = self._keys()
        try:
            async with asyncio.timeout(self._limits.connect) as self._clock:
                return await asyncssh.connect(
                    self._address.host,
                    self._address.port,
                    known_hosts=() if self._through else ([], [], []),
                    client_keys=keys if self._address.key is not None else (),
                    # After a key that was named, the agent's are asked for below: a server counts the tries.
                    agent_path="" if self._address.key is not None else self._agent(),
                    preferred_auth="publickey",
                    keepalive_interval=self._limits.alive,
                    keepalive_count_max=self._limits.missed,
                    gss_kex=False,
                    gss_auth=False,
                    compression_algs=["none"],
                    encryption_algs=CIPHERS,
                    **self._common(),
                )
        except (OSError, asyncssh.Error, asyncssh.KeyImportError, ValueError) as error:
            raise self._explained(error) from error

    async def learn(self) -> HostKey:
        try:
            async with asyncio.timeout(self._limits.connect) as self._clock:
                options = asyncssh.SSHClientConnectionOptions(
                    client_factory=lambda: self, config=None, username=self._address.user, client_keys=None
                )
                common = {k: v for k, v in self._common().items() if k in ("tunnel", "server_host_key_algs", "config")}
                host, port = self._address.host, self._address.port
                key = await asyncssh.get_server_host_key(host, port, options=options, **common)
        except (OSError, asyncssh.Error, ValueError) as error:
            raise self._explained(error) from error
        if key is None:
            raise self._not_ssh("it shows no host key")
        return _host_key(key)

    def _common(self) -> dict[str, Any]:
        return {
            "client_factory": lambda: self,
            "config": None,
            "username": self._address.user,
            "tunnel": self._tunnel,
            "server_host_key_algs": preferred(self._pinned),
            "connect_timeout": None,
            "login_timeout": 0,
            "x509_trusted_certs": None,
            "x509_trusted_cert_paths": [],
        }

    def _agent(self) -> str:
        return self._address.agent or os.environ.get("SSH_AUTH_SOCK", "")

    def _keys(self) -> list[asyncssh.SSHKeyPair]:
        """The key that was named. One with a passphrase is left to the agent: nobody is there to be asked."""
        path = self._address.key
        if path is None:
            return []
        remedy = "Name the private key's file, one that you may read."
        try:
            keys = list(asyncssh.load_keypairs([str(path)], ignore_encrypted=True))
        except (OSError, asyncssh.KeyImportError, ValueError) as error:
            raise LoginRefused(f"the key {path} cannot be used: {error}", remedy) from error
        if not keys:
            self._notes.append(f"{path} has a passphrase, so only the SSH agent can use it: ssh-add {path}")
        return keys

    # What asyncssh tells and asks

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._line = conn
        if self._clock is not None and not self._clock.expired():
            self._clock.reschedule(asyncio.get_running_loop().time() + self._limits.login)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._tunnel is not None:
            self._tunnel.close()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self._offered = _host_key(key)
        if self._through:
            # Unknown ones will do: what passes there is encrypted for a server whose key is pinned.
            return not _listed(host, addr, port)
        return self._offered == self._pinned

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKeyPair] | None:
        """Asked for when all other keys were refused."""
        if self._line is not None:
            self._methods = tuple(self._line.get_server_auth_methods())
        if self._asked or self._address.key is None or not self._agent():
            return None
        self._asked = True
        try:
            async with asyncssh.connect_agent(self._agent()) as agent:
                return list(await agent.get_keys())
        except (OSError, asyncssh.Error, ValueError) as error:
            self._notes.append(f"the SSH agent did not answer: {error}")
            return None

    # Errors

    def _explained(self, error: Exception) -> ConnectionFailed:
        if isinstance(error, ConnectionFailed):
            return error
        if isinstance(error, TimeoutError):
            return self._timed_out()
        if isinstance(error, asyncssh.HostKeyNotVerifiable) and self._offered is not None:
            return self._wrong_key(self._offered)
        if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in str(error):
            return self._refused()
        if isinstance(error, asyncssh.ChannelOpenError):
            return self._no_way_on(error)
        if isinstance(error, asyncssh.KeyExchangeFailed):
            return self._not_ssh(f"no common encryption: {error}")
        if isinstance(error, (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported)):
            return self._not_ssh(str(error))
        if isinstance(error, asyncssh.Error):
            cause = f"{self._words} ended the connection during the login: {error}"
            remedy = "It may be busy, or refuse this address for a while (MaxStartups, PerSourcePenalties, fail2ban)."
            return Unreachable(cause, remedy, "broken")
        if isinstance(error, OSError):
            return self._no_connection(error)
        return LoginRefused(f"the login at {self._words} cannot be tried: {error}", "Correct the address.")

    def _timed_out(self) -> Unreachable:
        if self._line is None:
            cause = f"{self._words} did not answer within {self._limits.connect:g} s"
            return Unreachable(cause, "Check the address, that the server runs, and the firewalls between.", "time-out")
        cause = f"{self._words} takes connections, but was not done with the login after {self._limits.login:g} s"
        return Unreachable(cause, "Check that its port is that of sshd, and that the server is not stuck.", "silent")

    def _wrong_key(self, offered: HostKey) -> ConnectionFailed:
        if self._pinned is None and not self._through:
            cause = f"the host key of {self._words} is not known here; it shows {offered.fingerprint}"
            return HostKeyUnknown(cause, "Compare the fingerprint with the server's own, then add the server.", offered)
        known = f"{self._pinned.fingerprint} is pinned" if self._pinned else "your known_hosts has another one"
        cause = f"{self._words} shows the host key {offered.fingerprint}, but {known}; nothing was sent"
        remedy = "If the server was installed anew, remove it and add it again; else somebody stands between."
        return HostKeyChanged(cause, remedy, self._pinned, offered)

    def _refused(self) -> LoginRefused:
        methods = ", ".join(self._methods) or "no method that works without questions"
        tried = f"the key {self._address.key} and the SSH agent's" if self._address.key else "your keys"
        notes = "".join(f"; {note}" for note in self._notes)
        cause = f"{self._words} refused the user {self._address.user} with {tried} (it accepts: {methods}){notes}"
        remedy = (
            f"Add your public key to ~{self._address.user}/.ssh/authorized_keys there, or name another user or key."
        )
        return LoginRefused(cause, remedy, self._methods)

    def _no_way_on(self, error: asyncssh.ChannelOpenError) -> ConnectionFailed:
        if self._tunnel is None:
            return SessionRefused(f"{self._words} opens no session: {error}", "Check MaxSessions in its sshd_config.")
        jump = self._address
        if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
            remedy = "Allow it there: AllowTcpForwarding yes (or local) in its sshd_config."
            return Unreachable(f"the jump host does not pass connections on to {jump}: {error}", remedy, "jump")
        remedy = "Check the address as the jump host sees it, that the server runs, and the firewalls between."
        return Unreachable(f"the jump host cannot reach {jump}: {error}", remedy, "jump")

    def _not_ssh(self, why: str) -> Unreachable:
        remedy = "Check that the port is that of sshd, of OpenSSH 7 or newer."
        return Unreachable(f"{self._words} answers, but not as an SSH server of ours: {why}", remedy, "not ssh")

    def _no_connection(self, error: OSError) -> Unreachable:
        if isinstance(error, socket.gaierror):
            cause = f"the name {self._address.host} cannot be looked up: {error.strerror}"
            return Unreachable(cause, "Check the name, or use the server's IP address.", "name")
        # Of a name with several addresses, asyncio tells all errors in one text.
        numbers = {error.errno} if error.errno else {int(each) for each in _ERRNO.findall(str(error))}
        if numbers == {errno.ECONNREFUSED}:
            cause = f"{self._words} refuses connections at port {self._address.port}"
            return Unreachable(cause, "Check the port, and that sshd runs there.", "refused")
        if numbers & set(_NO_ROUTE):
            return Unreachable(f"no route leads to {self._words}", "Check the address and your network.", "no route")
        if numbers == {errno.ETIMEDOUT}:
            return self._timed_out()
        return Unreachable(f"{self._words} cannot be reached: {error}", "Check the address and your network.", "broken")


def _host_key(key: asyncssh.SSHKey) -> HostKey:
    return HostKey.read(key.export_public_key("openssh").decode())


def _listed(host: str, addr: str, port: int) -> bool:
    """Whether the user's known_hosts has a key for that host, with which this one would then disagree."""
    path = Path("~/.ssh/known_hosts").expanduser()
    if not path.is_file():
        return False
    found = asyncssh.read_known_hosts(str(path)).match(host, addr, port if port != 22 else None)
    return any(found[:3])
