"""The IP addresses behind the names of servers: Envoy is told addresses, and names may move."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 3.0
"""Seconds for a name to be resolved; what needs longer is used when it is known."""

FRESH = 60.0
"""Seconds for which an answer is used without asking again."""

FAILED = 10.0
"""Seconds until a name that has no address is asked for again."""

log = structlog.get_logger("balancer")


@dataclass
class _Known:
    address: str | None
    again: float


class Addresses:
    """An address that was known is kept while its name cannot be resolved."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def of(self, name: str) -> str | None:
        """The IP address; None when none is known yet."""
        known = self._known.get(name)
        return known.address if known is not None else None

    async def learn(self, names: Iterable[str], *, new_only: bool = False) -> bool:
        """Resolve those that are not known, or (unless `new_only`) not known any more. Whether an address changed."""
        now = asyncio.get_running_loop().time()
        due = []
        for name in set(names):
            known = self._known.get(name)
            if known is None or (known.again <= now and not (new_only and known.address)):
                due.append(name)
        return any(await asyncio.gather(*(self._learn(name) for name in due)))

    async def _learn(self, name: str) -> bool:
        loop = asyncio.get_running_loop()
        before = self.of(name)
        literal = _literal(name)
        if literal is not None:
            self._known[name] = _Known(literal, float("inf"))
            return literal != before
        try:
            async with asyncio.timeout(LIMIT):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError) as problem:
            log.warning("a server's name cannot be resolved", name=name, problem=str(problem) or "no answer in time")
            self._known[name] = _Known(before, loop.time() + FAILED)
            return False
        answers = [each for *_, place in found if (each := _literal(str(place[0]))) is not None]
        # Of several, the one that is in use: endpoints must not change with the order of answers.
        address = before if before in answers else next(iter(answers), before)
        self._known[name] = _Known(address, loop.time() + FRESH)
        return address != before


def _literal(text: str) -> str | None:
    """An IP address as Envoy writes it; None for anything else, and for one that only this machine can use."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) is not None else address.compressed
