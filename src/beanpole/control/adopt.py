"""A service that somebody made by hand becomes an environment, while it serves.

Its code becomes a version, an environment of it is created on that server and proven there while the service has the
port; only then the port goes over. Until that moment nothing of the service is touched, and whatever fails leaves it
serving. All of it may be asked for again, and goes on where it was.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beanpole.control import applications as versions
from beanpole.control import create, errors, settings, update
from beanpole.control.adoption import ADOPTED, EVERYWHERE, Proposal, propose
from beanpole.control.create import NewEnvironment
from beanpole.control.hosts import Task
from beanpole.fleet.agent_client import AgentError, AgentRefused
from beanpole.fleet.servers import unit_reading
from beanpole.fleet.servers.scripts import done
from beanpole.fleet.servers.unit_code import as_zip, fetch
from beanpole.operations.placing import FLEET, LOCATION, SSH
from beanpole.options.setting import ENVIRONMENT_PROPERTIES, Setting
from beanpole.store import applications, environments, hosts, instances

if TYPE_CHECKING:
    from beanpole.control.context import By, Control
    from beanpole.fleet.agent_client import AgentClient
    from beanpole.fleet.servers.server import Server
    from beanpole.fleet.servers.servers import Servers
    from beanpole.fleet.servers.setup import Setup
    from beanpole.store.hosts import Host

READ_LIMIT = 60.0
"""Seconds for a unit to be read: `pip freeze` of a large environment takes some."""

PROVE_LIMIT = 1800.0
"""Seconds for the environment to be proven; its operation has a deadline of its own."""

DRAIN = 60.0
"""Seconds that requests of the service may take once it gets no new ones."""

SHARE_LIMIT = 30.0
LOOK = 0.5


class AdoptionFailed(Exception):
    """`cause` and `remedy` are sentences. The service serves as before."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True)
class Wanted:
    """Names that are not given are made of the unit's. `health_path`: None for the platform's default."""

    host: str
    unit: str
    port: int | None = None
    application: str | None = None
    environment: str | None = None
    health_path: str | None = None
    force: bool = False
    """Also when the code differs from what the environment runs already."""


@dataclass
class Adopting(Task):
    """`result`: how the port went over, when it has."""

    wanted: Wanted | None = None
    environment: str = ""
    result: dict[str, Any] = field(default_factory=dict)


class Adoptions:
    def __init__(self, control: Control, servers: Servers, setup: Setup) -> None:
        self._control = control
        self._servers = servers
        self._setup = setup
        self._tasks: dict[str, Adopting] = {}

    def task(self, host_name: str) -> Adopting | None:
        """The last adoption on that host since this control plane was started."""
        return self._tasks.get(host_name)

    async def plan(self, wanted: Wanted) -> Proposal:
        """What would be done; nothing is. Raises the API's error for what cannot be adopted at all."""
        host = self._host(wanted.host)
        ran = await self._servers.server(host.id).script("unit", wanted.unit, limit=READ_LIMIT)
        try:
            unit = unit_reading.parse(wanted.unit, done(host.name, ran))
        except unit_reading.UnitUnreadable as strange:
            raise errors.invalid(f"{host.name}: {strange.cause} {strange.remedy}") from strange
        label = ADOPTED + (unit.revision or f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}")
        with self._control.database.read() as db:
            stays = _place_of(host) if hosts.instances_on(db, host.id) else None
        return propose(unit, wanted.port or host.app_port, wanted.application, wanted.environment, label, stays)

    async def begin(self, by: By, wanted: Wanted) -> Proposal:
        """It is under way when this returns; `task` says how far."""
        proposal = await self.plan(wanted)
        running = self._tasks.get(wanted.host)
        if running is not None and running.under_way:
            if running.wanted == wanted:  # clients repeat calls whose answer did not come
                return proposal
            raise errors.invalid(f"Host {wanted.host} is adopting a unit at this moment. Wait until that has ended.")
        stopping = next((doubt for doubt in proposal.doubts if doubt.blocking), None)
        if stopping is not None:
            raise errors.invalid(f"{stopping.cause} {stopping.remedy}")
        task = Adopting(wanted=wanted, environment=proposal.environment)
        self._tasks[wanted.host] = task
        task.begin(f"adopt {wanted.unit} on {wanted.host}", self._adopt(by, task, wanted, proposal))
        return proposal

    async def _adopt(self, by: By, task: Adopting, wanted: Wanted, proposal: Proposal) -> None:
        host = self._host(wanted.host)
        server = self._servers.server(host.id)
        if not self._proven_on(host, proposal):
            label = await self._version(by, task, server, wanted, proposal)
            task.progress("sharing the port")
            await asyncio.to_thread(self._move_proxy, host, proposal)
            await self._share(server, proposal)
            task.progress("proving the environment beside the service")
            await asyncio.to_thread(self._submit, by, host, wanted, proposal, label)
            await self._proven(host, proposal)
        else:
            await self._share(server, proposal)
        task.progress("handing the port over")
        task.result = await _switched(await self._setup.balancer_agent(server))

    # -- the version ------------------------------------------------------------------------------------------------

    async def _version(self, by: By, task: Adopting, server: Server, wanted: Wanted, proposal: Proposal) -> str:
        """The label of a version with the service's code: a new one, unless the environment has the same code."""
        with tempfile.TemporaryDirectory(prefix="beanpole-adopt-") as folder:
            scratch = Path(folder)
            left_out = [*proposal.left_out, *(f"./{path}" for path, _ in proposal.large)]
            packed = await fetch(server, proposal.folder, left_out, scratch, task.progress)
            added = {"Procfile": proposal.procfile, "requirements.txt": proposal.requirements}
            texts = {path: text for path, text in added.items() if text is not None}
            target = scratch / "code.zip"
            await asyncio.to_thread(as_zip, packed, target, texts)
            return await asyncio.to_thread(self._add_version, by, target, wanted, proposal)

    def _add_version(self, by: By, path: Path, wanted: Wanted, proposal: Proposal) -> str:
        control, label = self._control, self._free_label(proposal)
        key = f"{proposal.application}/{label}.zip"
        control.objects.put(control.bucket, key, path, "application/zip")
        new = versions.create_version(
            control,
            by,
            application=proposal.application,
            label=label,
            description=f"What {proposal.unit} ran on {wanted.host}",
            source=(control.bucket, key),
            create_application_too=True,
            process=True,
        )
        present = self._present(proposal)
        if present is None:
            return label
        same = present.manifest == new.manifest
        if not same and not wanted.force:
            told = _difference(control, present, new)
            versions.delete_version(control, by, proposal.application, label, with_bundle=True)
            raise AdoptionFailed(
                f"{wanted.host} runs other code than {proposal.environment}, which has {present.label}: {told}.",
                "With --force it gets what the environment has.",
            )
        versions.delete_version(control, by, proposal.application, label, with_bundle=True)
        return present.label

    def _present(self, proposal: Proposal) -> applications.Version | None:
        with self._control.database.read() as db:
            found = environments.find_live(db, proposal.environment)
            label = found.version_label if found is not None else None
            return applications.find_version(db, proposal.application, label) if label else None

    def _free_label(self, proposal: Proposal) -> str:
        with self._control.database.read() as db:
            number, label = 1, proposal.label
            while applications.find_version(db, proposal.application, label) is not None:
                number += 1
                label = f"{proposal.label}-{number}"
            return label

    # -- the environment --------------------------------------------------------------------------------------------

    def _submit(self, by: By, host: Host, wanted: Wanted, proposal: Proposal, label: str) -> None:
        """The environment, or one more instance of it, on that host and no other. Raises the API's errors."""
        self._mark(host, proposal.environment)
        with self._control.database.read() as db:
            there = environments.find_live(db, proposal.environment)
            count = len(instances.listed(db, there.id)) if there is not None else 0
        size = [Setting.of(settings.GROUP, name, str(count + 1)) for name in ("MinSize", "MaxSize")]
        if there is not None:
            update.update(self._control, by, update.Update(changes=size), name=there.name, id_=None)
            return
        changes = [
            Setting.of(LOCATION[0], LOCATION[1], SSH),
            Setting.of(FLEET, "Labels", proposal.environment),
            *size,
            *(Setting.of(ENVIRONMENT_PROPERTIES, name, value) for name, value in proposal.properties.items()),
        ]
        if wanted.health_path is not None:
            process = "aws:elasticbeanstalk:environment:process:default"
            changes.append(Setting.of(process, "HealthCheckPath", wanted.health_path))
        new = NewEnvironment(
            proposal.application, proposal.environment, label, self._platform(proposal), changes=changes
        )
        create.create(self._control, by, new)

    def _mark(self, host: Host, label: str) -> None:
        """The environment's instances go where its label is."""
        labels = [*json.loads(host.labels)]
        if label not in labels:
            with self._control.database.write() as db:
                hosts.update(db, host.id, labels=json.dumps([*labels, label]))

    def _platform(self, proposal: Proposal) -> str:
        """Of the service's own Python where we offer that one, else the newest."""
        minor = ".".join((proposal.python or "").split(".")[:2])
        found = self._control.platforms.named(f"Python {minor}") or self._control.platforms.named("Python")
        if found is None:
            raise AdoptionFailed(
                "This Beanpole offers no platform.", "Install a Python on the control plane's machine."
            )
        return found.branch

    def _proven_on(self, host: Host, proposal: Proposal) -> bool:
        with self._control.database.read() as db:
            found = environments.find_live(db, proposal.environment)
            there = found is not None and any(each.host == host.id for each in instances.listed(db, found.id))
            return found is not None and there and found.status == "Ready" and found.release is not None

    async def _proven(self, host: Host, proposal: Proposal) -> None:
        """Returns when a release has passed there. Raises AdoptionFailed when it did not."""
        deadline = asyncio.get_running_loop().time() + PROVE_LIMIT
        name = proposal.environment
        while asyncio.get_running_loop().time() < deadline:
            with self._control.database.read() as db:
                found = environments.find_live(db, name)
            if found is None or found.status == "Ready":
                if self._proven_on(host, proposal):
                    return
                break
            await asyncio.sleep(LOOK)
        raise AdoptionFailed(
            f"The environment {name} could not be proven on {host.name}; {proposal.unit} serves as before.",
            f"`beanpole events {name}` says why; `beanpole terminate {name}` clears it away, then adopt it again.",
        )

    # -- the port ---------------------------------------------------------------------------------------------------

    def _move_proxy(self, host: Host, proposal: Proposal) -> None:
        """The server's proxy takes requests where the service does. Nothing else of ours lives there."""
        address = None if proposal.address == EVERYWHERE else proposal.address
        with self._control.database.write() as db:
            if not hosts.instances_on(db, host.id):
                hosts.update(db, host.id, app_address=address, app_port=proposal.port)

    async def _share(self, server: Server, proposal: Proposal) -> None:
        await self._setup.install(server)
        agent = await self._setup.balancer_agent(server)
        listen = {"address": proposal.address, "port": proposal.port}
        try:
            await agent.call("PUT", "/takeover", {"unit": proposal.unit, "listen": listen}, timeout=SHARE_LIMIT)
        except AgentRefused as refusal:
            remedy = str(refusal.body.get("remedy", ""))
            if refusal.body.get("gap"):
                remedy = f"Stop {proposal.unit} yourself for a moment, and deploy to a new environment instead."
            raise AdoptionFailed(f"{server.name}: {refusal.message}.", remedy) from refusal

    def _host(self, name: str) -> Host:
        with self._control.database.read() as db:
            host = hosts.named(db, name)
        if host is None:
            raise errors.invalid(f"No Host named '{name}' found. Add it first: `beanpole hosts add`.")
        return host


async def _switched(agent: AgentClient) -> dict[str, Any]:
    """How the port went over. Returns when it has, and the unit has ended."""
    await agent.call("POST", "/takeover/switch", {"seconds": DRAIN})
    deadline = asyncio.get_running_loop().time() + DRAIN + 120
    while True:
        try:
            seen = await agent.call("GET", "/takeover")
        except AgentError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            seen = {}
        if seen.get("state") == "done":
            return dict(seen.get("result") or {})
        if asyncio.get_running_loop().time() > deadline:
            raise AdoptionFailed("The unit has not ended.", "See `beanpole hosts check` and the unit on the server.")
        await asyncio.sleep(LOOK / 2)


def _place_of(host: Host) -> tuple[str, int]:
    return host.app_address or EVERYWHERE, host.app_port


def _difference(control: Control, present: applications.Version, new: applications.Version) -> str:
    """`app.py, lib/a.py and 3 more differ`."""
    before, after = (versions.manifest_of(control, each).files for each in (present, new))
    names = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more} differ{'s' if len(names) == 1 else ''}"
