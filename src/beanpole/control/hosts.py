"""Servers: add them, look at them, let them go.

Everything is checked before anything is changed, here and there; what blocks is told at once, and then nothing is
stored. What was begun and cut off goes on when it is asked for again. Runs in the event loop.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from beanpole.control import edges, errors, locations
from beanpole.control.host_report import Report, Subject, reports
from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.connection import Connection
from beanpole.fleet.servers.failure import ConnectionFailed
from beanpole.fleet.servers.finding import blocking
from beanpole.fleet.servers.host_key import HostKey
from beanpole.operations.placing import SSH
from beanpole.store import edges as standing
from beanpole.store import environments, events, hosts, instances
from beanpole.store.events import Subject as EventSubject
from beanpole.store.hosts import Host

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.control.context import By, Control
    from beanpole.fleet.place import Progressed
    from beanpole.fleet.servers.server import Server
    from beanpole.fleet.servers.servers import Servers

PORT = 8080
"""Where a server's proxy takes requests, unless another port is named."""

QUICK = 4.0
"""Seconds for a server to be reached before it counts as not reachable now."""

STAYS = (
    "What is there stays: /var/lib/beanpole, the units beanpole-* and the users bp-*; the applications run on. Remove "
    "them there, or add the server again with --force and remove it with --purge."
)

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/=-]{0,61}[A-Za-z0-9])?")

log = structlog.get_logger("hosts")


class Installer(Protocol):
    async def install(self, server: Server, *, force: bool, on_progress: Progressed) -> object:
        """The server is ready when this returns; may be repeated. An error has the attributes `cause` and `remedy`."""
        ...


class Remover(Protocol):
    async def remove(self, server: Server, *, purge: bool, on_progress: Progressed) -> object:
        """Nothing of ours holds the server any more; `purge`: nothing of ours is there. Errors as of `Installer`."""
        ...


@dataclass(frozen=True)
class NewHost:
    name: str
    address: Address
    host_key: str
    """The one that was shown to a person: nothing else is ever accepted from that server."""
    labels: tuple[str, ...] = ()
    app_port: int = PORT


@dataclass
class Task:
    """What goes on with a server, or how it ended badly: then `cause` is not empty."""

    words: str = ""
    done: int = 0
    total: int = 0
    cause: str = ""
    remedy: str = ""
    under_way: bool = True
    handle: asyncio.Task[None] | None = field(default=None, repr=False)
    """Kept so that it is not collected while it runs."""

    @property
    def over(self) -> bool:
        """It has ended well."""
        return not self.under_way and not self.cause

    def progress(self, words: str, done: int = 0, total: int = 0) -> None:
        self.words, self.done, self.total = words, done, total

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do it, beside the caller; what goes wrong stays here for whoever asks."""
        self.handle = asyncio.create_task(self._do(name, work), name=name)

    async def _do(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as problem:
            self.cause = str(getattr(problem, "cause", "") or f"Beanpole made a mistake: {problem}")
            self.remedy = str(getattr(problem, "remedy", "") or "Look at the control plane's log, then try again.")
            log.warning("work on a server failed", work=name, exc_info=problem)
        finally:
            self.under_way = False


@dataclass(frozen=True)
class Reachability:
    """`state`: "yes", "no" (it answers, and lets us not in) or "unknown"; `words`: why, where it is not "yes"."""

    state: str
    words: str = ""


class Hosts:
    def __init__(self, control: Control, servers: Servers, installer: Installer, remover: Remover) -> None:
        self._control = control
        self._servers = servers
        self._installer = installer
        self._remover = remover
        self._tasks: dict[str, Task] = {}

    def tasks(self) -> dict[str, Task]:
        """What goes on with servers now, or ended badly, by their ids: copies, which stay as they are now.

        Ask before the rows are read: what has ended since then is in the rows.
        """
        return {host_id: replace(task) for host_id, task in list(self._tasks.items())}

    async def reachability(self, host: Host) -> Reachability:
        connection = self._servers.server(host.id).connection
        if connection.alive:
            return Reachability("yes")
        try:
            async with asyncio.timeout(QUICK):
                await connection.connect()
        except TimeoutError:
            return Reachability("unknown", f"no answer within {QUICK:g} s")
        except ConnectionFailed as failure:
            return Reachability("unknown" if failure.unknown else "no", failure.cause)
        return Reachability("yes")

    # -- adding -----------------------------------------------------------------------------------------------------

    async def add(self, by: By, news: list[NewHost], *, force: bool) -> list[Report]:
        """Look at all of them, write down those that nothing blocks, and begin to make those ready.

        Raises the API's error, before anything is looked at, for names, labels, ports and keys that cannot be.
        """
        for new in news:
            _check(new)
        _refuse_twice([new.name for new in news])
        with self._control.database.read() as db:
            known = hosts.listed(db)
        subjects = [Subject(new.name, new.address, new.host_key, new.app_port) for new in news]
        connections = [Connection(new.address, new.host_key) for new in news]
        try:
            pairs = list(zip(subjects, connections, strict=True))
            told = await reports(pairs, self._control.identity.store, known, force=force)
        finally:
            await asyncio.gather(*(connection.close() for connection in connections))
        return [await self._added(new, each, force) for new, each in zip(news, told, strict=True)]

    async def _added(self, new: NewHost, told: Report, force: bool) -> Report:
        with self._control.database.write() as db:
            taken = _taken(db, new)
            if taken is not None:
                return told.with_finding(blocking("known", *taken))
            if told.blocked:
                return told
            before = hosts.named(db, new.name)
            row = self._row(new, told, before)
            if before is None:
                hosts.add(db, row)
            else:
                hosts.update(db, before.id, **msgspec.structs.asdict(row))
        running = self._tasks.get(row.id)
        if running is None or not running.under_way:
            await self._servers.forget(row.id)
            self._begin(row, lambda task: self._install(row, force, task))
        return told

    def _row(self, new: NewHost, told: Report, before: Host | None) -> Host:
        now = self._control.database.now_ms()
        return Host(
            id=before.id if before is not None else "h-" + secrets.token_hex(9)[:17],
            name=new.name,
            address=json.dumps(new.address.to_json()),
            host_key=new.host_key,
            app_port=new.app_port,
            labels=json.dumps(list(new.labels)),
            state="joining",
            facts=_encoded(told),
            checked_at=now,
            added_at=before.added_at if before is not None else now,
        )

    async def _install(self, host: Host, force: bool, task: Task) -> None:
        await self._installer.install(self._servers.server(host.id), force=force, on_progress=task.progress)
        with self._control.database.write() as db:
            hosts.update(db, host.id, state="ready")
            if not locations.is_decided(db):
                locations.set_default(db, SSH)
        self._tasks.pop(host.id, None)

    def _begin(self, host: Host, work: Any) -> None:
        task = Task()
        self._tasks[host.id] = task
        task.begin(f"host {host.name}", work(task))

    # -- checking ---------------------------------------------------------------------------------------------------

    async def check(self, names: list[str]) -> list[Report]:
        """All at once; without names every server. What was seen is remembered, on the servers nothing is changed."""
        with self._control.database.read() as db:
            known = hosts.listed(db)
        chosen = [_named(known, name) for name in names] if names else known
        pairs = [(_subject(host), self._servers.server(host.id).connection) for host in chosen]
        told = await reports(pairs, self._control.identity.store, known)
        with self._control.database.write() as db:
            for host, each in zip(chosen, told, strict=True):
                if each.facts is not None:
                    now = self._control.database.now_ms()
                    hosts.update(db, host.id, facts=_encoded(each), checked_at=now)
        return told

    # -- removing ---------------------------------------------------------------------------------------------------

    async def remove(self, by: By, name: str, *, purge: bool, force: bool) -> str:
        """Begin to let the server go; '' then. One that cannot be reached is forgotten with `force`: what stays there.

        Raises the API's error while instances live there, or when it cannot be reached, unless `force`.
        """
        with self._control.database.read() as db:
            host = _named(hosts.listed(db), name)
            living = _living(db, host.id)
            edges.refuse_removal(db, host, force=force)
        if living and not force:
            raise errors.invalid(
                f"Host {name} has instances of {living}. Terminate or scale these environments first, or say force."
            )
        running = self._tasks.get(host.id)
        if running is not None and running.under_way:
            raise errors.invalid(f"Host {name} is {host.state} at this moment. Wait until that has ended.")
        reached = await self.reachability(host)
        if reached.state != "yes":
            if not force:
                raise errors.invalid(
                    f"Host {name} cannot be reached, so nothing can be removed there: {reached.words}. Try again when "
                    "it can be, or say force to forget it."
                )
            await self._forget(by, host)
            return STAYS
        with self._control.database.write() as db:
            hosts.update(db, host.id, state="leaving")
        self._begin(host, lambda task: self._remove(by, host, purge, task))
        return ""

    async def _remove(self, by: By, host: Host, purge: bool, task: Task) -> None:
        await self._remover.remove(self._servers.server(host.id), purge=purge, on_progress=task.progress)
        await self._forget(by, host)

    async def _forget(self, by: By, host: Host) -> None:
        """The row goes, and the instances that lived there: nobody can reach them any more."""
        with self._control.database.write() as db:
            now = self._control.database.now_ms()
            gone = [each for each in instances.listed(db) if each.host == host.id]
            for each in gone:
                environment = environments.find(db, each.environment_id)
                instances.remove(db, each.id)
                if environment is not None:
                    about = EventSubject(environment.application, environment.id, environment.name, None, by.request_id)
                    words = f"Instance [{each.id}] was forgotten with its host {host.name}, which was removed."
                    events.say(db, now, about, words, "WARN")
            standing.remove(db, host.id)
            hosts.remove(db, host.id)
        if gone:
            await self._control.balancers.apply()
        await self._servers.forget(host.id)
        self._tasks.pop(host.id, None)


def _check(new: NewHost) -> None:
    if not _NAME.fullmatch(new.name):
        raise errors.invalid(f"'{new.name}' is no name for a host: 1 to 63 letters, digits, dots and hyphens.")
    for label in new.labels:
        if not _LABEL.fullmatch(label):
            raise errors.invalid(f"'{label}' is no label: 1 to 63 letters, digits and . _ / = - in between.")
    if not 0 < new.app_port < 65536:
        raise errors.invalid(f"{new.app_port} is no port: ports are 1 to 65535.")
    try:
        HostKey.read(new.host_key)
    except ValueError as strange:
        raise errors.invalid(f"{strange}.") from None


def _refuse_twice(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise errors.invalid(f"Two hosts are called {twice}. Give each a name of its own.")


def _taken(db: sa.Connection, new: NewHost) -> tuple[str, str] | None:
    """Why the name or the address is another server's: cause and remedy."""
    for host in hosts.listed(db):
        address = Address.from_json(json.loads(host.address))
        same = (address.host, address.port, address.jump) == (new.address.host, new.address.port, new.address.jump)
        if host.name == new.name and (host.state != "joining" or not same):
            return (
                f"there is a host {new.name} already ({address}, {host.state})",
                f"choose another --name, or `beanpole hosts remove {new.name}` first",
            )
        if host.name != new.name and same:
            return (
                f"two names for one host: {host.name} has the address {address}",
                f"use the name {host.name}, or `beanpole hosts remove {host.name}` first",
            )
    return None


def _named(known: list[Host], name: str) -> Host:
    found = next((host for host in known if host.name == name), None)
    if found is None:
        have = ", ".join(host.name for host in known)
        raise errors.invalid(f"No Host named '{name}' found. {f'There are: {have}.' if have else 'No host was added.'}")
    return found


def _subject(host: Host) -> Subject:
    address = Address.from_json(json.loads(host.address))
    return Subject(host.name, address, host.host_key, host.app_port, ours=host.state == "ready")


def _encoded(told: Report) -> str | None:
    return msgspec.json.encode(told.facts).decode() if told.facts is not None else None


def _living(db: sa.Connection, host_id: str) -> str:
    """`shop-dev (i-1, i-2) and prod (i-3)`, '' where nothing lives."""
    there: dict[str, list[str]] = {}
    for each in instances.listed(db):
        if each.host == host_id:
            environment = environments.find(db, each.environment_id)
            there.setdefault(environment.name if environment else each.environment_id, []).append(each.id)
    return " and ".join(f"{name} ({', '.join(ids)})" for name, ids in there.items())
