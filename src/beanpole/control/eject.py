"""The way out: applications stay on their servers without us, or the port goes back to the unit that had it before.

In place, Envoy and the applications go on, after a boot, too, and the control plane forgets servers and environment.
To the unit, it is started beside Envoy and answers before it gets the port; then everything of ours goes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.control import errors, terminate
from beanpole.control.context import the_environment
from beanpole.control.hosts import Task
from beanpole.fleet.agent_client import AgentError, AgentRefused
from beanpole.fleet.servers import layout, removal
from beanpole.fleet.servers.failure import ConnectionFailed, SetupFailed
from beanpole.store import environments, hosts, instances

if TYPE_CHECKING:
    from beanpole.control.context import By, Control
    from beanpole.fleet.servers.server import Server
    from beanpole.fleet.servers.servers import Servers
    from beanpole.store.hosts import Host

START = 120.0
"""Seconds for the unit to answer; models that are loaded at the start take their time."""

DRAIN = 60.0
"""Seconds that requests of Envoy may take once it gets no new ones."""

LOOK = 0.25


@dataclass
class Ejecting(Task):
    """`gap`: seconds in which nobody listened, the longest of all servers."""

    gap: float = 0.0


class Ejections:
    def __init__(self, control: Control, servers: Servers) -> None:
        self._control = control
        self._servers = servers
        self._tasks: dict[str, Ejecting] = {}

    def task(self, name: str) -> Ejecting | None:
        """The last one of that host or environment since this control plane was started."""
        return self._tasks.get(name)

    async def environment(self, by: By, name: str, *, to_unit: bool) -> list[str]:
        """Begin it; the names of its servers. Raises the API's error when that would take along somebody else."""
        with self._control.database.read() as db:
            meant = the_environment(db, name=name)
            if meant.status != "Ready":
                raise errors.not_ready(name)
            ids = {each.host for each in instances.listed(db, meant.id)}
            there = [host for host in hosts.listed(db) if host.id in ids]
        if None in ids or not there:
            raise errors.invalid(f"Environment named {name} does not live on servers: there is nothing to leave there.")
        self._begin(by, name, there, {meant.id}, to_unit=to_unit)
        return [host.name for host in there]

    async def host(self, by: By, name: str) -> list[str]:
        """Begin it; the names of the environments that live there, and nowhere else."""
        with self._control.database.read() as db:
            host = hosts.named(db, name)
            if host is None:
                raise errors.invalid(f"No Host named '{name}' found.")
            ids = {each.environment_id for each in instances.listed(db) if each.host == host.id}
            names = [each.name for each in environments.listed(db) if each.id in ids]
        self._begin(by, name, [host], ids, to_unit=False)
        return names

    def _begin(self, by: By, name: str, there: list[Host], ids: set[str], *, to_unit: bool) -> None:
        running = self._tasks.get(name)
        if running is not None and running.under_way:
            raise errors.invalid(f"{name} is being ejected already.")
        with self._control.database.read() as db:
            on, known = {host.id for host in there}, {each.id: each.name for each in environments.listed(db)}
            for each in instances.listed(db):
                inside, ours = each.host in on, each.environment_id in ids
                if inside and not ours:
                    other = known.get(each.environment_id, each.environment_id)
                    raise errors.invalid(f"{other} lives there, too. Eject the host instead, or terminate it first.")
                if ours and not inside:
                    other = known.get(each.environment_id, each.environment_id)
                    raise errors.invalid(f"{other} lives elsewhere, too. Eject the environment instead.")
        task = Ejecting()
        self._tasks[name] = task
        task.begin(f"eject {name}", self._eject(by, task, there, ids, to_unit=to_unit))

    async def _eject(self, by: By, task: Ejecting, there: list[Host], ids: set[str], *, to_unit: bool) -> None:
        servers = [self._servers.server(host.id) for host in there]
        if to_unit:
            task.progress("starting the units of before")
            for server in servers:  # one after the other: the others serve when one cannot go back
                task.gap = max(task.gap, await _given_back(server))
        task.progress("leaving the servers")
        # Forgotten first: who is known is made ready again, and told what it shall serve, by every part of ours.
        await asyncio.to_thread(self._forget, by, there, ids)
        await self._control.balancers.apply()
        self._control.wake()
        try:
            for server in servers:
                async with server.preparing:
                    await (removal.purge(server) if to_unit else removal.leave(server))
        except (SetupFailed, ConnectionFailed) as failure:
            words = "sudo systemctl disable --now 'beanpole-agent-*'"
            remedy = f"Its applications run. On that server: {words}. {failure.remedy}"
            raise SetupFailed(f"forgotten, but not left in order: {failure}", remedy) from failure
        finally:
            for host in there:
                await self._servers.forget(host.id)

    def _forget(self, by: By, there: list[Host], ids: set[str]) -> None:
        """In one moment, so that nobody replaces what is gone."""
        with self._control.database.write() as db:
            on = {host.id for host in there}
            for each in instances.listed(db):
                if each.host in on:
                    instances.remove(db, each.id)
            for id_ in sorted(ids):
                environment = environments.find(db, id_)
                if environment is not None and environment.status != "Terminating":
                    terminate.submit(db, self._control, by, environment)
            for host in there:
                hosts.remove(db, host.id)


async def _given_back(server: Server) -> float:
    """Seconds without anybody on the port. Raises SetupFailed; then Envoy serves as before."""
    agent = server.agent(layout.PROXY)
    try:
        await agent.call("POST", "/takeover/back", {"start": START, "drain": DRAIN})
        deadline = asyncio.get_running_loop().time() + START + DRAIN + 60
        while asyncio.get_running_loop().time() < deadline:
            seen = await agent.call("GET", "/takeover")
            if seen.get("state") == "back":
                return float((seen.get("result") or {}).get("gap", 0.0))
            if seen.get("state") == "done":
                why = (seen.get("result") or {}).get("problem", "the unit did not start")
                raise SetupFailed(f"{server.name}: {why}", "Envoy serves on. Repair the unit, then try again.")
            await asyncio.sleep(LOOK)
    except AgentRefused as refusal:
        raise SetupFailed(f"{server.name}: {refusal.message}", str(refusal.body.get("remedy", ""))) from refusal
    except AgentError as error:
        raise SetupFailed(f"{server.name}: {error}", "Try again when it can be reached.") from error
    raise SetupFailed(f"{server.name}: the port was not given back in time", "See the agent's log there.")
