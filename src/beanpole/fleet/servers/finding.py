"""One thing that stands in the way of a server, and what the judgement is made against."""

from __future__ import annotations

from typing import Literal

import msgspec

SHOWN = 5
"""Names in one line; the rest is a number."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Another server that this Beanpole holds."""

    name: str
    machine_id: str | None = None
    boot_id: str | None = None
    host_key: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the server is to hold, and what only the caller can know."""

    store: str
    """The id of this Beanpole's store."""
    port: int
    """The application port, where the instance proxy will listen."""
    disk: int = 2 * 1024**3
    """Bytes needed below /var/lib/beanpole."""
    inodes: int = 20_000
    """Files needed there: a virtual environment has thousands."""
    memory: int = 256 * 1024**2
    """Bytes that must be available."""
    skew: int | None = None
    """Milliseconds by which the server's clock is ahead, as `facts.skew` has it; None: not measured."""
    known: tuple[Known, ...] = ()
    """The other servers; not this one under its own name."""
    host_key: str | None = None
    """The one that this server showed."""
    force: bool = False
    """Take the server over from another Beanpole."""
    reach: Literal["open", "refused", "filtered"] | None = None
    """What came of connecting to the application port from where requests will come; None: not tried."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of cause, one of remedy (empty for a note that needs none)."""

    code: str
    severity: Literal["blocking", "warning", "note"]
    cause: str
    remedy: str = ""


def blocking(code: str, cause: str, remedy: str) -> Finding:
    return Finding(code=code, severity="blocking", cause=cause, remedy=remedy)


def warning(code: str, cause: str, remedy: str) -> Finding:
    return Finding(code=code, severity="warning", cause=cause, remedy=remedy)


def some(names: tuple[str, ...], noun: str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'} ({', '.join(names[:SHOWN])}{more})"


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def size_of(amount: int) -> str:
    if amount >= 1024**3:
        return f"{amount / 1024**3:.1f} GiB"
    return f"{amount / 1024**2:.0f} MiB"
