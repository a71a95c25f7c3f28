"""How a server is reached: host, user, port, key, jump host. From words, from an OpenSSH configuration, from JSON.

Nothing here touches the network; bad input is an AddressError that says what to write instead.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import asyncssh

PORT = 22
EXAMPLE = "Write it as admin@10.0.0.5, web1.example.com:2222 or admin@[2001:db8::1]:22."
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_USER = re.compile(r"[^\s:/@\-\x00-\x1f\x7f][^\s:/\x00-\x1f\x7f]{0,127}")


class AddressError(ValueError):
    """No address can be made of this. `cause` and `remedy` are sentences."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Address:
    """`key`: a private key's file; without one, the SSH agent's keys and the user's usual key files are tried.

    `jump`: hosts to go through, as words, several separated by commas; `jump_key` is their key (without one: `key`).
    `agent`: socket of the SSH agent; without one, the environment tells it.
    """

    host: str
    user: str
    port: int = PORT
    key: Path | None = None
    jump: str | None = None
    jump_key: Path | None = None
    agent: str | None = None

    def __post_init__(self) -> None:
        _check(self)

    def __str__(self) -> str:
        """`admin@10.0.0.5`, with the port when it is not 22: what `from_words` reads."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + (f":{self.port}" if self.port != PORT else "")

    @classmethod
    def from_words(cls, words: str, key: Path | None = None, jump: str | None = None) -> Address:
        """From `[user@]host[:port]`; the user is yours when none is named. AddressError."""
        user, _, place = words.strip().rpartition("@")
        host, port = _split_port(place, words)
        return cls(host, user if "@" in words else _local_user(), port, _expanded(key), jump)

    @classmethod
    def from_config(cls, name: str, config: Path | None = None) -> Address:
        """What `ssh NAME` would use; of several key files the first that exists. AddressError."""
        path = config if config is not None else Path("~/.ssh/config").expanduser()
        if config is not None and not path.is_file():
            raise AddressError(f"there is no SSH configuration at {path}", "Name an existing file.")
        words_user, _, place = name.strip().rpartition("@")
        host, port = _split_port(place, name)
        found = _ask_config(path, host, words_user or None, port if place != host else None)
        jump = found.get("ProxyJump")
        resolved = _resolve_jump(path, jump) if isinstance(jump, str) else []
        agent = found.get("IdentityAgent")
        return cls(
            str(found.get("Hostname", host)),
            str(found.get("User", _local_user())),
            int(found.get("Port", PORT)),
            _first_key(found),
            ",".join(str(each) for each in resolved) or None,
            next((each.key for each in resolved if each.key is not None), None),
            str(Path(agent).expanduser()) if isinstance(agent, str) and agent != "SSH_AUTH_SOCK" else None,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Address:
        """From what `to_json` made. AddressError."""
        try:
            given = {**value, **{name: Path(value[name]) for name in ("key", "jump_key") if value.get(name)}}
            return cls(**given)
        except (TypeError, KeyError) as error:
            raise AddressError(f"{dict(value)!r} is no address: {error}", EXAMPLE) from error

    def to_json(self) -> dict[str, Any]:
        """Plain values, without those that are not set."""
        return {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self).items() if v is not None}

    def jumps(self) -> list[Address]:
        """The hosts to go through, in this order."""
        if self.jump is None:
            return []
        key = self.jump_key if self.jump_key is not None else self.key
        return [replace(Address.from_words(each, key), agent=self.agent) for each in self.jump.split(",")]


def _check(address: Address) -> None:
    if not _is_host(address.host):
        raise AddressError(f"{address.host!r} is neither a host's name nor an IP address", EXAMPLE)
    if not _USER.fullmatch(address.user):
        raise AddressError(f"{address.user!r} is no user's name", EXAMPLE)
    if not isinstance(address.port, int) or not 0 < address.port < 65536:
        raise AddressError(f"{address.port!r} is no port: ports are 1 to 65535", EXAMPLE)
    address.jumps()


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # A name's last label is never a number: that is an IP address with a slip in it.
        return bool(_NAME.fullmatch(text)) and not text.rpartition(".")[2].isdigit() and ".." not in text
    return True


def _split_port(place: str, words: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else ("" if not rest else "?")
        if not bracket or ":" not in host:
            raise AddressError(f"{words!r} has a bracket that is not closed, or no IPv6 address in it", EXAMPLE)
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
        port = port or "?"
    else:
        host, port = place, ""  # with more colons, an IPv6 address without a port
    if not port:
        return host, PORT
    if not port.isascii() or not port.isdigit() or len(port) > 5:
        raise AddressError(f"the port of {words!r} is no number", EXAMPLE)
    return host, int(port)


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise AddressError("this system knows no name for you", "Name the server's user: admin@10.0.0.5.") from error


def _expanded(path: Path | None) -> Path | None:
    return path.expanduser() if path is not None else None


def _ask_config(path: Path, host: str, user: str | None, port: int | None) -> dict[str, Any]:
    if not os.access(path, os.R_OK):
        return {name: value for name, value in (("User", user), ("Port", port)) if value is not None}
    try:
        options = asyncssh.SSHClientConnectionOptions(
            config=[str(path)],
            host=host,
            **({"username": user} if user is not None else {}),
            **({"port": port} if port is not None else {}),
            # None of the user's keys is read here.
            client_keys=None,
            known_hosts=None,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=[],
        )
    except (ValueError, OSError, asyncssh.Error) as error:
        raise AddressError(f"the SSH configuration cannot be used: {error}", f"Correct {path}.") from error
    wanted = ("Hostname", "User", "Port", "IdentityFile", "IdentityAgent", "ProxyJump", "ProxyCommand")
    found = {name: options.config.get(name) for name in wanted}
    if found["ProxyCommand"]:
        cause = f"{path} reaches {host} through a ProxyCommand, which is not supported"
        raise AddressError(cause, "Use ProxyJump, or name an address that can be reached.")
    return {name: value for name, value in found.items() if value is not None}


def _resolve_jump(path: Path, jump: str) -> list[Address]:
    """The hosts of a ProxyJump, which may be names of the same configuration."""
    return [Address.from_config(each, path if path.is_file() else None) for each in jump.split(",") if each != "none"]


def _first_key(found: Mapping[str, Any]) -> Path | None:
    paths = [Path(each).expanduser() for each in found.get("IdentityFile", ())]
    return next((path for path in paths if path.exists()), paths[0] if paths else None)
