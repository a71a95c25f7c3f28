"""Instances on servers: each is a folder there, a user, and the unit of an agent. systemd keeps agents alive.

A server that cannot be reached says nothing about what runs on it: AgentUnreachable then, which may pass.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from beanpole.fleet.agent_client import AgentClient, AgentError, AgentUnreachable
from beanpole.fleet.envoy import EnvoyMissing
from beanpole.fleet.servers import layout
from beanpole.fleet.servers.agent_unit import AgentUnit
from beanpole.fleet.servers.build import ServerBuilder
from beanpole.fleet.servers.facts import Facts
from beanpole.fleet.servers.failure import ConnectionFailed, SetupFailed
from beanpole.fleet.servers.interpreters import Interpreter, NoInterpreter, interpreter_for
from beanpole.fleet.servers.removal import remove_instance
from beanpole.fleet.servers.scripts import done
from beanpole.fleet.servers.transfer import TransferFailed
from beanpole.store import hosts, instances

if TYPE_CHECKING:
    from beanpole.fleet.elsewhere import Builder
    from beanpole.fleet.layers import Layer
    from beanpole.fleet.place import Progressed
    from beanpole.fleet.servers.server import Server
    from beanpole.fleet.servers.servers import Servers
    from beanpole.fleet.servers.setup import Setup
    from beanpole.platforms.kind import Kind
    from beanpole.store.blobs import Blobs
    from beanpole.store.database import Database
    from beanpole.store.instances import Instance

PATIENCE = 30.0
"""Seconds for which an agent that does not answer may be starting anew; after that, what it does is unknown."""

RETRY = 0.5
"""Seconds between tries."""

GRACE = 30.0
"""Seconds for applications to finish what they do before their instance goes."""

END_LIMIT = 30.0
"""Seconds beyond their grace."""

LOOK_LIMIT = 60.0
"""Seconds for a server to say which blobs it has, or to remove some."""

YOUNG = 60
"""Minutes for which nothing is pruned: an operation may have brought it that the caller of `prune` knew nothing of."""

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

log = structlog.get_logger("fleet")


class ServerPlace:
    """The instances whose rows name a host, see `Place`."""

    shared_machine = False
    patience = PATIENCE

    def __init__(self, database: Database, servers: Servers, blobs: Blobs, setup: Setup) -> None:
        self._database = database
        self._servers = servers
        self._blobs = blobs
        self._setup = setup
        self._homes: dict[str, tuple[str, str]] = {}
        self._brought: dict[str, dict[str, float]] = {}
        self.left: dict[str, set[str]] = {}
        """By host: instances that were to be removed, and may still be there."""

    async def launch(self, instance_id: str) -> None:
        """Makes the server ready as well, if it is not."""
        server, address = self._found(instance_id)
        unit = AgentUnit(instance_id, server.store, "instance", address, layout.user(instance_id))
        with agent_errors(server):
            await self._setup.install(server)
            await self._setup.start(server, unit)

    async def terminate(self, instance_id: str) -> None:
        server, _ = self._found(instance_id)
        # Until it is done: whoever asks for it may go on without us.
        self.left.setdefault(server.id, set()).add(instance_id)
        await _end(server, instance_id)
        self.left[server.id].discard(instance_id)
        self._homes.pop(instance_id, None)

    async def clear_leftovers(self, host_id: str) -> list[str]:
        """End and remove the instances of ours on a server that the database does not know; their names.

        Their environment ended while the server could not be reached, or the database was put back to an earlier state.
        What another Beanpole holds, or left there to go on without it, is none of ours. AgentUnreachable.
        """
        server = self._servers.server(host_id)
        with agent_errors(server):
            told = done(server.name, await server.script("instances", server.store, limit=LOOK_LIMIT))
        # The servers first: a launch writes its row before it makes anything.
        found = {name for word, *names in told if word == "instance" for name in names}
        with self._database.read() as db:
            known = set(hosts.instances_on(db, host_id))
        gone = sorted((found | self.left.get(host_id, set())) - known)
        for instance_id in gone:
            await _end(server, instance_id)
            log.info("an instance that nobody knows was removed", instance=instance_id, host=server.name)
        if not known & self.left.get(host_id, set()):
            self.left.pop(host_id, None)
        return gone

    async def client(self, instance_id: str) -> AgentClient:
        loop = asyncio.get_running_loop()
        limit = loop.time() + PATIENCE
        while True:
            try:
                return await self.keep_alive(instance_id)
            except AgentUnreachable:
                if loop.time() > limit:
                    raise
            await asyncio.sleep(RETRY)

    async def running(self, instance_id: str) -> AgentClient | None:
        try:
            return await self.keep_alive(instance_id)
        except AgentUnreachable:
            return None

    async def keep_alive(self, instance_id: str) -> AgentClient:
        server, _ = self._found(instance_id)
        client = server.agent(instance_id)
        try:
            await client.hello()
        except AgentUnreachable as silence:
            raise AgentUnreachable(f"the state of {instance_id} on {server.name} is unknown: {silence}") from silence
        return client

    async def bring(self, instance_id: str, digests: Iterable[str], on_progress: Progressed) -> str:
        """Calls for one server follow each other, so that nothing is sent twice."""
        server, _ = self._found(instance_id)
        wanted = list(dict.fromkeys(digests))
        with agent_errors(server):
            async with server.sending:
                now = asyncio.get_running_loop().time()
                self._brought.setdefault(server.id, {}).update(dict.fromkeys(wanted, now))
                data = "".join(f"{digest}\n" for digest in wanted).encode()
                told = done(server.name, await server.feed("missing", data=data, limit=LOOK_LIMIT))
                missing = {digest for word, digest in told if word == "missing"} & set(wanted)
                if missing:
                    files = await asyncio.to_thread(self._files, [digest for digest in wanted if digest in missing])
                    await server.deliver(files, lambda sent, total, _: on_progress("sending files", sent, total))
        return layout.BLOBS

    def kind(self, instance_id: str, python: str) -> Kind:
        return self._interpreter(instance_id, python).kind

    def builder(self, instance_id: str, python: str) -> Builder:
        server, _ = self._found(instance_id)
        return ServerBuilder(server, self._interpreter(instance_id, python).path)

    def layer_job(self, instance_id: str, layer: Layer, python: str) -> dict[str, Any]:
        return {
            "key": layer.key,
            "target": layout.layer(layer.key),
            "python": self._interpreter(instance_id, python).path,
            "lock": layer.lock,
            "packages": [[wheel.file, wheel.sha256] for wheel in layer.packages],
            "blobs": layout.BLOBS,
            "uv": f"{layout.BINARIES}/uv",
        }

    def layer_folder(self, instance_id: str, key: str, python: str) -> str:
        return layout.layer(self.kind(instance_id, python).layer(key))

    async def prune(self, host_id: str, blobs: Iterable[str], layers: Iterable[str]) -> int:
        """Removes from a server all blobs but these, all layers but those of these keys (of any kind of machine), and
        programs that nobody starts; how many there were. What came there within the last hour stays in any case."""
        server = self._servers.server(host_id)
        with agent_errors(server):
            async with server.preparing, server.sending:
                told = done(server.name, await server.script("listing", str(YOUNG), limit=LOOK_LIMIT))
                keys = set(layers)
                of_keys = {name for kind, name in told if kind == "layer" and name.partition("-")[0] in keys}
                keep = {"blob": {*blobs, *self._young(host_id)}, "layer": of_keys}
                if server.machine is not None:
                    keep["binary"] = self._setup.binaries(server.machine)
                gone = [
                    (kind, name) for kind, name in told if _KEY.fullmatch(name) and name not in keep.get(kind, {name})
                ]
                if gone:
                    data = "".join(f"{kind} {name}\n" for kind, name in gone).encode()
                    done(server.name, await server.feed("prune", data=data, limit=LOOK_LIMIT))
        return len(gone)

    def _young(self, host_id: str) -> Iterable[str]:
        """Blobs that somebody asked for within the last hour; most were there already, and are old."""
        since = asyncio.get_running_loop().time() - YOUNG * 60
        young = {digest: at for digest, at in self._brought.get(host_id, {}).items() if at > since}
        self._brought[host_id] = young
        return young

    def _interpreter(self, instance_id: str, python: str) -> Interpreter:
        """As the last check of its server saw it. SetupFailed where there is none."""
        server, _ = self._found(instance_id)
        with self._database.read() as db:
            row = hosts.find(db, server.id)
        if row is None or row.facts is None:
            raise SetupFailed(f"{server.name} was never looked at", f"Run `beanpole hosts check {server.name}`.")
        try:
            return interpreter_for(msgspec.json.decode(row.facts, type=Facts), python)
        except NoInterpreter as none:
            raise SetupFailed(f"{server.name}: {none.cause}", none.remedy) from none

    def _files(self, digests: list[str]) -> list[tuple[Any, str, int]]:
        paths = {digest: self._blobs.path(digest) for digest in digests}
        try:
            return [(path, digest, path.stat().st_size) for digest, path in paths.items()]
        except FileNotFoundError as error:
            raise SetupFailed(f"{error.filename} is gone", "Deploy again, from the bundle.") from error

    def _found(self, instance_id: str) -> tuple[Server, str]:
        """The instance's server and address, which never change."""
        known = self._homes.get(instance_id)
        if known is None:
            with self._database.read() as db:
                row: Instance | None = instances.find(db, instance_id)
            if row is None or row.host is None:
                raise AgentUnreachable(f"there is no instance {instance_id!r} on a server")
            known = self._homes[instance_id] = (row.host, row.address)
        return self._servers.server(known[0]), known[1]


async def _end(server: Server, instance_id: str) -> None:
    """Nothing of the instance is left when this returns. AgentUnreachable."""
    how = {"processes": True, "grace": GRACE}
    try:
        await server.agent(instance_id).call("POST", "/shutdown", how, timeout=GRACE + END_LIMIT)
    except AgentError as problem:
        # Dead or gone, or the server is away: then the rest says so.
        log.warning("an agent did not end its instance", instance=instance_id, problem=str(problem))
    with agent_errors(server):
        await remove_instance(server, instance_id)


@contextmanager
def agent_errors(server: Server) -> Iterator[None]:
    """What goes wrong on the way to a server, as whoever uses a place expects it."""
    try:
        yield
    except ConnectionFailed as error:
        raise AgentUnreachable(f"the state of {server.name} is unknown: {error.cause}. {error.remedy}") from error
    except TransferFailed as error:
        if error.unknown:
            raise AgentUnreachable(f"the state of {server.name} is unknown: {error.cause}. {error.remedy}") from error
        raise SetupFailed(error.cause, error.remedy) from error
    except EnvoyMissing as error:
        raise SetupFailed(str(error), "Install Beanpole anew, or let ENVOY_BIN name an Envoy.") from error
