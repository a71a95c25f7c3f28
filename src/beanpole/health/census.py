"""What the database knows of all that lives, read in one short transaction, narrow columns only."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from beanpole.health.activity import Place, places, work_kind
from beanpole.health.rules.facts import Deployment, WorkKind
from beanpole.health.rules.thresholds import COMPLETED_SHOWN
from beanpole.policies import plan as plans
from beanpole.store import environments, instances, rows
from beanpole.store.operations import Origin, Outcome
from beanpole.store.schema import environment, journal, operation, option, release

if TYPE_CHECKING:
    from beanpole.store.environments import Environment
    from beanpole.store.instances import Endpoint, Instance

RECENT = 1000
"""Operations, the newest, among which the open and the just finished ones are looked for. The table has no index for
that, and their plans are long."""

_REPORTING = "aws:elasticbeanstalk:healthreporting:system"
_MINIMUM = ("aws:autoscaling:asg", "MinSize")
_DOCUMENT = (_REPORTING, "ConfigDocument")


class Release(msgspec.Struct, frozen=True):
    number: int
    version_label: str
    digest: str
    created_at: int

    @property
    def deployment(self) -> Deployment:
        return Deployment(self.number, self.version_label)


class Operation(msgspec.Struct, frozen=True):
    """An operation that is open, or that succeeded a short while ago, with where it is on each instance."""

    id: int
    environment_id: str
    kind: str
    origin: Origin
    phase: str
    outcome: Outcome | None
    release: int | None
    previous: int | None
    plan: str
    return_plan: str | None
    created_at: int
    finished_at: int | None
    deadline_at: int

    @property
    def open(self) -> bool:
        return self.phase != "done"


class Underway(msgspec.Struct, frozen=True):
    operation: Operation
    kind: WorkKind
    places: dict[str, Place]


class Settings(msgspec.Struct, frozen=True):
    """What of the stored settings health depends on."""

    minimum: int = 1
    judge_4xx: bool = True
    judge_balancer_4xx: bool = True


class Household(msgspec.Struct, frozen=True):
    """One environment with all that belongs to it."""

    environment: Environment
    instances: tuple[Instance, ...]
    endpoints: dict[str, tuple[Endpoint, ...]]
    """By instance id."""
    releases: Releases
    operations: tuple[Underway, ...]
    settings: Settings

    @property
    def expected(self) -> Release | None:
        """The last release that passed."""
        return self.releases.numbered(self.environment.release)


class Releases:
    """One environment's releases without their contents. They are only ever added, so they are read once."""

    def __init__(self) -> None:
        self._numbered: dict[int, Release] = {}
        self._digests: dict[str, Release] = {}

    def add(self, new: Release) -> None:
        self._numbered[new.number] = new
        self._digests[new.digest] = new

    @property
    def newest(self) -> int:
        return max(self._numbered, default=0)

    def numbered(self, number: int | None) -> Release | None:
        return self._numbered.get(number) if number is not None else None

    def with_digest(self, digest: str) -> Release | None:
        """The newest of them: on an instance they are the same thing."""
        return self._digests.get(digest)


class Census:
    """Takes the census again and again; what cannot change is remembered."""

    def __init__(self) -> None:
        self._releases: dict[str, Releases] = {}

    def take(self, db: sa.Connection, now: float) -> list[Household]:
        live = environments.listed(db)
        members: dict[str, list[Instance]] = defaultdict(list)
        for each in instances.listed(db):
            if each.state != "terminating":
                members[each.environment_id].append(each)
        endpoints: dict[str, list[Endpoint]] = defaultdict(list)
        for endpoint in instances.endpoints(db):
            endpoints[endpoint.instance_id].append(endpoint)
        self._learn_releases(db, live)
        underway = self._operations(db, now)
        settings = _settings(db)
        return [
            Household(
                environment=each,
                instances=tuple(members[each.id]),
                endpoints={member.id: tuple(endpoints[member.id]) for member in members[each.id]},
                releases=self._releases[each.id],
                operations=tuple(underway[each.id]),
                settings=settings.get(each.id, Settings()),
            )
            for each in live
        ]

    def _learn_releases(self, db: sa.Connection, live: list[Environment]) -> None:
        self._releases = {each.id: self._releases.get(each.id) or Releases() for each in live}
        newest = sa.select(release.c.environment_id, sa.func.max(release.c.number)).group_by(release.c.environment_id)
        columns = sa.select(release.c.number, release.c.version_label, release.c.digest, release.c.created_at)
        for environment_id, number in db.execute(newest):
            known = self._releases.get(environment_id)
            if known is None or known.newest == number:
                continue
            missing = columns.where(release.c.environment_id == environment_id, release.c.number > known.newest)
            for each in rows.every(db, missing.order_by(release.c.number), Release):
                known.add(each)

    def _operations(self, db: sa.Connection, now: float) -> dict[str, list[Underway]]:
        last = db.execute(sa.select(sa.func.max(operation.c.id))).scalar() or 0
        finished = sa.and_(
            operation.c.outcome == "succeeded", operation.c.finished_at > int((now - COMPLETED_SHOWN) * 1000)
        )
        query = (
            sa.select(*(operation.c[name] for name in Operation.__struct_fields__))
            .join(environment, environment.c.id == operation.c.environment_id)
            .where(
                operation.c.id > last - RECENT,
                sa.or_(operation.c.phase != "done", finished),
                environment.c.terminated_at.is_(None),
            )
            .order_by(operation.c.id)
        )
        found: dict[str, list[Underway]] = defaultdict(list)
        for each in rows.every(db, query, Operation):
            kind = work_kind(each.kind, new_version=self._new_version(each))
            found[each.environment_id].append(Underway(each, kind, _places(db, each)))
        return found

    def _new_version(self, of: Operation) -> bool:
        known = self._releases[of.environment_id]
        new, old = known.numbered(of.release), known.numbered(of.previous)
        return new is not None and (old is None or new.version_label != old.version_label)


def _places(db: sa.Connection, of: Operation) -> dict[str, Place]:
    text, phase = (of.return_plan, "return") if of.phase == "return" else (of.plan, "forward")
    try:
        plan = plans.decode(text or "")
    except (plans.UnknownPlan, msgspec.DecodeError):
        return {}  # of another version of Beanpole: that it runs can be said, where it is cannot
    query = sa.select(journal.c.key, sa.case((journal.c.key.like("%/bind"), journal.c.result))).where(
        journal.c.operation_id == of.id
    )
    entries: dict[str, str | None] = dict(db.execute(query).all())
    bound = {
        key.split("/")[-2]: json.loads(result)["instance"] for key, result in entries.items() if result is not None
    }
    return places(plan, phase, entries, bound)


def _settings(db: sa.Connection) -> dict[str, Settings]:
    wanted = (_MINIMUM, _DOCUMENT)
    query = (
        sa.select(option.c.environment_id, option.c.namespace, option.c.name, option.c.value)
        .where(sa.or_(*(sa.and_(option.c.namespace == namespace, option.c.name == name) for namespace, name in wanted)))
        .where(option.c.resource == "")
    )
    found: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for environment_id, namespace, name, value in db.execute(query):
        found[environment_id][namespace, name] = value
    return {environment_id: _of(values) for environment_id, values in found.items()}


def _of(values: dict[tuple[str, str], str]) -> Settings:
    minimum = values.get(_MINIMUM, "")
    return Settings(
        minimum=int(minimum) if minimum.isdecimal() else 1,
        judge_4xx=_enabled(values.get(_DOCUMENT, ""), "Application", "ApplicationRequests4xx"),
        judge_balancer_4xx=_enabled(values.get(_DOCUMENT, ""), "ELB", "ELBRequests4xx"),
    )


def _enabled(document: str, group: str, rule: str) -> bool:
    """Whether the health document leaves that rule on: it may switch off the two about 4xx."""
    if not document:
        return True
    try:
        rules = msgspec.json.decode(document, type=_Document).rules.environment
    except msgspec.DecodeError:
        return True  # what was refused as a setting, or is in a form that we do not know, switches nothing off
    return rules.get(group, {}).get(rule, _Rule()).enabled


class _Rule(msgspec.Struct, frozen=True, rename="pascal"):
    enabled: bool = True


class _Rules(msgspec.Struct, frozen=True, rename="pascal"):
    environment: dict[str, dict[str, _Rule]] = {}


class _Document(msgspec.Struct, frozen=True, rename="pascal"):
    rules: _Rules = _Rules()
