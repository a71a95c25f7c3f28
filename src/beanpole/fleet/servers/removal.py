"""A server is given back: Beanpole alone goes, or everything of ours. Needs no agent, and no part to be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.fleet.servers.failure import HeldByAnother
from beanpole.fleet.servers.scripts import done

if TYPE_CHECKING:
    from beanpole.fleet.place import Progressed
    from beanpole.fleet.servers.server import Server

LIMIT = 300.0
"""Seconds: applications may take a minute and a half to stop."""


async def leave(server: Server, *, force: bool = False) -> None:
    """Agents and their programs go. Applications stay as they are, with users, files, layers and units; so does Envoy,
    which a unit starts at boot from now on. HeldByAnother unless `force`, SetupFailed, ConnectionFailed.
    """
    await _remove(server, "leave", force)


async def purge(server: Server, *, force: bool = False) -> None:
    """Nothing of ours is left, the journal excepted. HeldByAnother unless `force`, SetupFailed, ConnectionFailed."""
    await _remove(server, "purge", force)


async def remove_instance(server: Server, instance_id: str) -> None:
    """What runs on the instance ends, its agent too, and nothing of it is left. SetupFailed, ConnectionFailed."""
    done(server.name, await server.script("remove", "instance", instance_id, limit=LIMIT))


async def remove_edge(server: Server) -> None:
    """The edge balancer there ends, with its agent, and nothing of it is left. SetupFailed, ConnectionFailed."""
    done(server.name, await server.script("remove", "edge", limit=LIMIT))


async def _remove(server: Server, verb: str, force: bool) -> None:
    await server.channel.close()  # its far end is a process of ours there
    words = (verb, server.store, "force" if force else "")
    for told, *rest in done(server.name, await server.script("remove", *words, limit=LIMIT)):
        if told == "held":
            raise HeldByAnother(server.name, *(*rest, "", "")[:2])
    server.machine = None


class Removal:
    """How a server is given back, for whoever asks with a yes or no: see `purge` and `leave`."""

    async def remove(self, server: Server, *, purge: bool, on_progress: Progressed) -> None:
        on_progress("removing what is ours" if purge else "removing Beanpole, not the applications", 0, 0)
        await _remove(server, "purge" if purge else "leave", False)
