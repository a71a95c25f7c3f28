"""ComposeEnvironments: versions with manifests become environments of one group, linked, dependencies first.

All of the group is decided before anything is done, and begun in one transaction: a manifest that cannot be refuses the
whole call. Afterwards each environment has an operation of its own, which waits for those that it is linked to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import create, errors, quotas, submit, templates, update
from beanpole.control.processing import BadManifest, manifest
from beanpole.options.setting import ENVIRONMENT_PROPERTIES, Setting
from beanpole.policies.plan import ANSWER, After
from beanpole.store import applications, environments, links

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from beanpole.control.context import By, Control
    from beanpole.options.saved import Saved
    from beanpole.options.settings import Settings
    from beanpole.policies.plan import Plan
    from beanpole.store.applications import Version
    from beanpole.store.environments import Environment

_GROUP = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,17}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Member:
    """`cname`: of a new environment. `links`: properties and the names of the environments whose addresses they get."""

    name: str
    version: Version
    manifest: Saved
    cname: str
    exists: bool
    links: dict[str, str]


class _Overtaken(Exception):
    """Another change came between the decision and its begin; nothing was written."""


def compose_group(
    control: Control, by: By, application: str, group: str | None, labels: list[str]
) -> list[Environment]:
    """Begin it; the environments as they are then, dependencies first. Raises the API's errors, and changes nothing
    when it does."""
    if group is not None and not _GROUP.fullmatch(group):
        raise errors.invalid("GroupName has 1 to 19 letters, digits and hyphens, with no hyphen at either end.")
    for _ in range(update.DECISIONS):
        group_of = _Group(control, by, application, _members(control, application, group, labels))
        try:
            begun = group_of.begin()
        except _Overtaken:
            continue
        control.wake()
        return begun
    raise errors.not_ready(", ".join(group_of.names))


def grouped(name: str, group: str | None) -> str:
    """`front+` in the group dev is front-dev; a name without the sign is the same in every group."""
    if not name.endswith("+"):
        return name
    if group is None:
        raise errors.missing(f"GroupName is required: the name {name} in a manifest waits for one.")
    return f"{name.removesuffix('+')}-{group}"


class _Group:
    def __init__(self, control: Control, by: By, application: str, members: list[Member]) -> None:
        self._control = control
        self._by = by
        self._application = application
        self._members = {member.name: member for member in members}
        self._limits: dict[str, int] = {}
        """Seconds that each member may take, those before it included."""

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def begin(self) -> list[Environment]:
        decided = [self._decided(self._members[name]) for name in self._order()]
        begun: list[Environment] = []
        with self._control.database.write() as db:
            quotas.more_environments(db, sum(not member.exists for member in self._members.values()))
            for member, decision in decided:
                environment = self._begun(db, member, decision)
                links.put(db, environment.id, member.links)
                begun.append(environments.find(db, environment.id) or environment)
        return begun

    def _order(self) -> list[str]:
        """Every environment after those that it is linked to."""
        within = {
            name: [target for target in member.links.values() if target in self._members]
            for name, member in self._members.items()
        }
        try:
            return list(TopologicalSorter(within).static_order())
        except CycleError as circle:
            raise errors.invalid(f"The environments are linked in a circle: {' - '.join(circle.args[1])}.") from circle

    def _decided(self, member: Member) -> tuple[Member, create.Decision | tuple[update.Update, update.Decision]]:
        addresses = [
            Setting(ENVIRONMENT_PROPERTIES, name, "", self._address(target)) for name, target in member.links.items()
        ]
        if not member.exists:
            return member, self._new(member, addresses)
        wanted = update.Update(application=self._application, version_label=member.version.label, changes=addresses)
        decision = update.decide(self._control, wanted, name=member.name, id_=None)
        settings = decision.composed.settings if decision.composed is not None else None
        return member, (wanted, replace(decision, plan=self._waiting(member, decision.plan, settings)))

    def _new(self, member: Member, addresses: list[Setting]) -> create.Decision:
        base = templates.of_document(self._control, member.manifest)
        if base.platform is None:
            raise errors.invalid(f"{templates.NO_PLATFORM}: the manifest of {member.version.label} has none.")
        wanted = create.NewEnvironment(
            application=self._application,
            name=member.name,
            version_label=member.version.label,
            platform=base.platform,
            cname_prefix=member.cname,
            tier=base.tier or "WebServer",
            base=base.settings,
            changes=addresses,
        )
        decision = create.decide(self._control, wanted)
        return replace(decision, plan=self._waiting(member, decision.plan, decision.composed.settings))

    def _waiting(self, member: Member, plan: Plan, settings: Settings | None) -> Plan:
        """The plan behind a step that lets the environments pass first to which this one is linked."""
        first = tuple(dict.fromkeys(target for target in member.links.values() if target in self._members))
        limit = max((self._limits[name] for name in first), default=0)
        words = f"Wait for {', '.join(first)}" if first else "Wait until the call is answered"
        step = After(key="after", slots=first or (ANSWER,), words=words, limit=limit)
        made = msgspec.structs.replace(plan, steps=(step, *plan.steps))
        self._limits[member.name] = limit if settings is None else submit.deadline(made, settings)
        return made

    def _begun(
        self, db: sa.Connection, member: Member, decision: create.Decision | tuple[update.Update, update.Decision]
    ) -> Environment:
        if isinstance(decision, create.Decision):
            return create.begin(db, self._control, self._by, decision)
        wanted, decided = decision
        if not update.begin(db, self._control, self._by, wanted, decided, name=member.name, id_=None):
            raise _Overtaken
        return decided.basis.environment

    def _address(self, name: str) -> str:
        """What a client asks for the environment of that name, in the group or beside it."""
        member = self._members.get(name)
        if member is not None:
            return self._control.balancers.cname(member.cname)
        with self._control.database.read() as db:
            found = environments.find_live(db, name)
        if found is None or found.application != self._application or found.cname_prefix is None:
            raise errors.no_environment(name)
        return self._control.balancers.cname(found.cname_prefix)


def _members(control: Control, application: str, group: str | None, labels: Iterable[str]) -> list[Member]:
    """Raises the API's errors for versions and manifests that make no environment."""
    with control.database.read() as db:
        if applications.find(db, application) is None:
            raise errors.no_application(application)
        members = [_member(db, control, application, group, label) for label in dict.fromkeys(labels)]
    if not members:
        raise errors.missing("VersionLabels must name at least one version.")
    names = [member.name for member in members]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise errors.invalid(f"Two of the versions are for one environment, {twice}.")
    return members


def _member(db: sa.Connection, control: Control, application: str, group: str | None, label: str) -> Member:
    version = applications.find_version(db, application, label)
    if version is None:
        raise errors.no_version(label)
    if version.status != "PROCESSED":
        raise errors.invalid(
            f"Application Version {label} is {version.status}: create it with Process=true, and look at its events."
        )
    try:
        found = manifest(control, version)
    except BadManifest as problem:
        raise errors.invalid(f"Application Version {label} cannot be composed: {problem}.") from problem
    if found.name is None:
        raise errors.invalid(f"Application Version {label} cannot be composed: its env.yaml has no EnvironmentName.")
    name = grouped(found.name, group)
    there = environments.find_live(db, name)
    if there is not None and there.application != application:
        raise errors.invalid(f"Environment {name} already exists.")
    cname = grouped(found.cname, group) if found.cname else create.free_cname(db, name)
    if there is not None:
        cname = there.cname_prefix or cname
    return Member(name, version, found, cname, there is not None, {of: grouped(to, group) for of, to in found.links})
