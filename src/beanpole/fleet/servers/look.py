"""A look at a server through its one connection: its facts, how far its clock is off, and whether its port is reached.

Nothing is changed there. What is tried is bounded: a look ends within LOOK_LIMIT, a try of the port within PORT_LIMIT.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncssh

from beanpole.fleet.servers.facts import Facts, script, skew
from beanpole.fleet.servers.failure import ConnectionFailed
from beanpole.fleet.servers.reading import parse

if TYPE_CHECKING:
    from beanpole.fleet.servers.connection import Connection

Reach = Literal["open", "refused", "filtered"]

LOOK_LIMIT = 25.0
"""Seconds; the script itself ends after fifteen, whatever hangs there."""

CONNECT_LIMIT = 3.0
"""Seconds for TCP to connect to the application port: a machine that is there answers within one."""

PORT_LIMIT = 10.0
"""Seconds for all that trying the port takes."""

LISTEN = """
import select, socket, sys, time
port, end = int(sys.argv[1]), time.monotonic() + 30
if socket.has_dualstack_ipv6():
    server = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
else:
    server = socket.create_server(("", port))
print("listens", flush=True)
while time.monotonic() < end:
    ready = select.select([server, sys.stdin], [], [], 1)[0]
    if sys.stdin in ready:
        break
    if server in ready:
        server.accept()[0].close()
"""
"""The program that listens until its input ends: whoever else tries the port must not leave the next one with nobody,
which looks like a firewall. Fixed: the port comes as a word of its own."""


@dataclass(frozen=True)
class Seen:
    facts: Facts
    skew: int | None
    """Milliseconds by which the server's clock is ahead."""


async def look(connection: Connection) -> Seen:
    """Raises ConnectionFailed, or FactsUnreadable when the login shell there is none."""
    await connection.connect()  # its time is not the script's
    sent = time.time_ns() // 10**6
    ran = await connection.run_script(script(), limit=LOOK_LIMIT)
    facts = parse(ran.stdout.decode(errors="replace"))
    return Seen(facts, skew(facts, sent, time.time_ns() // 10**6))


async def reach(connection: Connection, facts: Facts, port: int) -> Reach | None:
    """What comes of connecting to that port from here, where the edge is. None: it could not be tried.

    Where nothing listens yet, something of ours does for a moment: only then does a refusal tell of a firewall.
    """
    try:
        async with asyncio.timeout(PORT_LIMIT):
            if not _listens(facts, port):
                taken = any(each.port == port for each in facts.listening or ())
                return None if taken else await _with_listener(connection, facts, port)
            found = await _connect(connection.address.host, port)
            # What listened may have ended since: another look's listener, for one.
            again = await _with_listener(connection, facts, port) if found == "refused" else None
            return again or found
    except (TimeoutError, ConnectionFailed, asyncssh.Error, OSError):
        return None


def _listens(facts: Facts, port: int) -> bool:
    return any(
        each.port == port and not each.address.startswith("127.") and each.address != "::1"
        for each in facts.listening or ()
    )


async def _with_listener(connection: Connection, facts: Facts, port: int) -> Reach | None:
    python = facts.python
    if python is None:
        return None
    words = (*(facts.elevation if facts.powerful else ()), python.path, "-I", "-c", LISTEN, str(port))
    process = await connection.process(words)
    try:
        if (await process.stdout.readline()).strip() != b"listens":
            return None
        return await _connect(connection.address.host, port)
    finally:
        process.close()


async def _connect(host: str, port: int) -> Reach:
    try:
        async with asyncio.timeout(CONNECT_LIMIT):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return "refused"
    except (TimeoutError, OSError):
        return "filtered"
    writer.close()
    return "open"
