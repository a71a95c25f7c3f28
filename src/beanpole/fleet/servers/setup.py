"""Makes servers ready: folders, the agent's program, uv, Envoy; and runs agents on them as units.

Everything may be repeated, after a cut at any point too, and goes on where it was; where nothing is to do it is one
round trip. A server that cannot be used, or that another Beanpole holds, is left as it is.
"""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from beanpole.fleet.agent_client import PROTOCOL, AgentClient, AgentUnreachable
from beanpole.fleet.servers import facts, layout, reading
from beanpole.fleet.servers.agent_unit import AgentUnit
from beanpole.fleet.servers.failure import AgentTooNew, HeldByAnother, ProgramsMissing, SetupFailed
from beanpole.fleet.servers.scripts import done
from beanpole.store import hosts

if TYPE_CHECKING:
    from beanpole.fleet.place import Progressed
    from beanpole.fleet.servers.equipment import Equipment, Item
    from beanpole.fleet.servers.facts import Facts
    from beanpole.fleet.servers.server import Server
    from beanpole.store.database import Database

SCRIPT_LIMIT = 60.0
"""Seconds for a script on a busy server; an idle one takes a tenth of a second."""

PROGRAM_LIMIT = 300.0
"""Seconds for the agent's program, half a megabyte, to arrive."""

START_LIMIT = 30.0
"""Seconds for an agent that was started to answer."""

NEW = "-"
"""Version of an agent that has not said one: it is just starting, with the present program, and left in peace."""

LOOK = 0.1
"""Seconds between looks at an agent that is starting."""


@dataclass(frozen=True)
class Installed:
    """`sent`: bytes that went. `waiting`: agents that had a job, and still run the program of before. `proxied`: the
    server has a proxy of ours already."""

    changed: bool
    sent: int
    waiting: tuple[str, ...]
    proxied: bool = False


class _Agent(msgspec.Struct, frozen=True, array_like=True):
    name: str
    version: str
    oldest: int
    newest: int


@dataclass(frozen=True)
class _Found:
    """What prepare.sh says. `files`: names, those behind the links as `NAME LINK`."""

    machine: str
    files: frozenset[str]
    python: bool
    agents: tuple[_Agent, ...]


class Setup:
    """Makes servers ready for one control plane, and remembers what was chosen for each in `database`."""

    def __init__(self, database: Database, equipment: Equipment) -> None:
        self._database = database
        self._equipment = equipment

    async def install(self, server: Server, *, force: bool = False, on_progress: Progressed | None = None) -> Installed:
        """The server is ready when this returns. `force`: take it over from another Beanpole.

        Raises SetupFailed, ConnectionFailed, TransferFailed, EnvoyMissing.
        """
        async with server.preparing:
            found = await self._prepare(server, force)
            server.machine = found.machine
            program = self._equipment.program
            binaries = await asyncio.to_thread(self._equipment.binaries, found.machine)
            self._refuse_newer(server, found)
            if not found.python:
                await self._choose_python(server)
            sent = 0
            if program.name not in found.files:
                sent += await self._send_program(server, program)
            lacking = [each for each in binaries if each.name not in found.files]
            sent += await _send(server, lacking, program, on_progress)
            links = {f"{program.name} {layout.PROGRAM.rpartition('/')[2]}", f"{binaries[0].name} uv"}
            changed = bool(lacking) or not links <= found.files
            if changed:
                words = [word for each in binaries for word in (each.name, each.sha256)]
                done(server.name, await server.script("equip", server.python, program.name, *words, limit=SCRIPT_LIMIT))
            old = [each.name for each in found.agents if each.version != NEW and not self._is_present(each.version)]
            waiting = [name for name in old if not await self._renewed(server, name)]
            proxied = any(each.name == layout.PROXY for each in found.agents)
            return Installed(changed or bool(old), sent, tuple(waiting), proxied)

    async def balancer_agent(self, server: Server, name: str = layout.PROXY) -> AgentClient:
        """The agent beside the server's proxy, or beside the edge there; the server is made ready and the agent started
        if need be.

        Raises what `install` raises, and AgentUnreachable.
        """
        if server.machine is None:
            await self.install(server)
        client = server.agent(name)
        try:
            await client.hello()
        except AgentUnreachable:
            await self.install(server)
            client = await self.start(server, AgentUnit(name, server.store, "balancer"))
        return client

    def envoy_path(self, server: Server) -> str:
        """Where Envoy lies on a server that was made ready."""
        if server.machine is None:
            raise AgentUnreachable(f"{server.name} was not made ready yet")
        return self._equipment.envoy_path(server.machine)

    def binaries(self, machine: str) -> set[str]:
        """Names of the programs that servers of that architecture have beside the agent's."""
        return {item.name for item in self._equipment.binaries(machine)}

    async def start(self, server: Server, unit: AgentUnit) -> AgentClient:
        """The agent of that unit runs, now and after each boot; it answers when this returns.

        Raises SetupFailed, ConnectionFailed, AgentUnreachable.
        """
        home = f"{layout.home(unit.name)}/home"
        words = (unit.file, unit.text(server.python), unit.user or "", home)
        async with server.preparing:  # one useradd and one daemon-reload at a time
            done(server.name, await server.script("agent", *words, limit=SCRIPT_LIMIT))
        return await _answering(server, unit.name)

    async def _prepare(self, server: Server, force: bool) -> _Found:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        machines = self._equipment.machines()
        words = (server.store, now, "force" if force else "", " ".join(machines), server.chosen or "")
        lines = done(server.name, await server.script("prepare", *words, limit=SCRIPT_LIMIT))
        of = {kind: [rest for word, *rest in lines if word == kind] for kind in ("machine", "held", "file", "agent")}
        machine = " ".join(*of["machine"]) if of["machine"] else "?"
        if machine not in machines:
            folder = self._equipment.folder / machine
            cause = f"{server.name} is {machine}, and there is no uv and no Envoy for that here"
            raise ProgramsMissing(cause, f"Put both for Linux on {machine} into {folder}, as uv and envoy.")
        if of["held"]:
            store, since = (*of["held"][0], "", "")[:2]
            raise HeldByAnother(server.name, store, since)
        if ["ours"] not in lines:
            raise SetupFailed(f"{server.name} did not say whether it can be made ready", "Look at its shell and disk.")
        files = frozenset(" ".join(rest) for rest in of["file"])
        agents = tuple(msgspec.convert(rest, _Agent, strict=False) for rest in of["agent"])
        return _Found(machine, files, ["python"] in lines, agents)

    def _is_present(self, version: str) -> bool:
        return version.endswith(f"+{self._equipment.version}")

    def _refuse_newer(self, server: Server, found: _Found) -> None:
        newer = next((agent for agent in found.agents if agent.oldest > PROTOCOL), None)
        if newer is not None:
            cause = (
                f"{server.name}: the agent of {newer.name} is {newer.version} and speaks protocols {newer.oldest} to "
                f"{newer.newest}, not {PROTOCOL}: a newer Beanpole was here"
            )
            raise AgentTooNew(cause, "Update this Beanpole.")

    async def _choose_python(self, server: Server) -> None:
        with self._database.read() as db:
            row = hosts.find(db, server.id)
        known = row.facts if row is not None and server.chosen is None else None
        if known is not None:
            seen = msgspec.json.decode(known, type=facts.Facts)
        else:
            ran = await server.connection.run_script(facts.script(), limit=SCRIPT_LIMIT)
            try:
                seen = reading.parse(ran.stdout.decode("utf-8", "replace"))
            except reading.FactsUnreadable as error:
                raise SetupFailed(f"{server.name}: {error}", "Look at the user's shell there.") from error
        python = agent_python(seen)
        if python is None:
            cause = f"{server.name} has no Python {'.'.join(map(str, facts.PYTHON_FLOOR))} or newer"
            raise SetupFailed(cause, "Install one there: sudo apt install python3, or its like.")
        await server.choose(python)
        with self._database.write() as db:
            hosts.update(db, server.id, python=python)

    async def _send_program(self, server: Server, program: Item) -> int:
        data = await asyncio.to_thread(program.path.read_bytes)
        done(server.name, await server.feed("receive", program.sha256, program.name, data=data, limit=PROGRAM_LIMIT))
        return len(data)

    async def _renewed(self, server: Server, name: str) -> bool:
        """Whether it runs the present program now; it does not when it has a job to do."""
        ran = await server.script("renew", layout.agent_unit(name), layout.home(name), limit=SCRIPT_LIMIT)
        if ["restarted"] not in done(server.name, ran):
            return False
        await _answering(server, name, self._equipment.version)
        return True


def agent_python(seen: Facts) -> str | None:
    """The newest that can run the agent; one in somebody's home only where there is no other."""
    fit = [each for each in seen.pythons or () if each.version is not None and each.version >= facts.PYTHON_FLOOR]
    best = max(fit, key=lambda each: (not each.private, each.version or ()), default=None)
    return None if best is None else best.executable or best.path


async def _send(server: Server, items: list[Item], program: Item, on_progress: Progressed | None) -> int:
    if not items:
        return 0
    names = " and ".join(item.name.partition("-")[0] for item in items)

    def progress(done: int, total: int, file: str) -> None:
        if on_progress is not None:
            on_progress(f"sending {names}", done, total)

    files = [(item.path, item.sha256, item.size) for item in items]
    return (await server.deliver(files, progress, f"{layout.PROGRAMS}/{program.name}")).wire


async def _answering(server: Server, name: str, version: str | None = None) -> AgentClient:
    """The agent, as soon as it answers (and has that version)."""
    client = server.agent(name)
    loop = asyncio.get_running_loop()
    limit = loop.time() + START_LIMIT
    while True:
        try:
            seen = (await client.hello())["version"]
            if version is None or seen.endswith(f"+{version}"):
                return client
            problem = AgentUnreachable(f"the agent of {name} on {server.name} still runs {seen}")
        except AgentUnreachable as error:
            problem = error
        if loop.time() > limit:
            words = f"journalctl -u {layout.agent_unit(name)}"
            raise AgentUnreachable(
                f"{problem} ({START_LIMIT:g} s after its start; on the server, see {words})"
            ) from problem
        await asyncio.sleep(LOOK)
