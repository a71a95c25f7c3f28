"""Environments, their stored option settings and their releases."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from beanpole.platforms.names import FIRST
from beanpole.store import rows
from beanpole.store.schema import environment, is_open, operation, option, release

Status = Literal["Launching", "Updating", "Aborting", "Ready", "Terminating", "Terminated"]

OptionKey = tuple[str, str, str]
"""Namespace, name, resource name ('' for most)."""


class Environment(msgspec.Struct, frozen=True):
    id: str
    name: str
    application: str
    description: str | None
    cname_prefix: str | None
    """The name that leads to it; of a terminated one, the name that did."""
    tier: str
    platform: str
    status: Status
    health: str
    causes: str
    desired: int
    version_label: str | None
    release: int | None
    created_at: int
    updated_at: int
    terminated_at: int | None = None
    terminate_at: int | None = None
    """When the control plane is to terminate it; None: never by itself."""
    platform_version: str = FIRST


class Release(msgspec.Struct, frozen=True):
    """Version, settings and dependency layer together. Only ever added; `passed_at` is set once."""

    environment_id: str
    number: int
    version_label: str
    digest: str
    content: str
    settings: str
    created_at: int
    passed_at: int | None = None


# Built once; see operations.py.
_BY_ID = sa.select(environment).where(environment.c.id == sa.bindparam("of"))
_LIVE = (
    sa.select(environment)
    .where(environment.c.terminated_at.is_(None))
    .order_by(environment.c.name, environment.c.created_at.desc())
)
_BY_NAME = sa.select(environment).where(
    environment.c.name == sa.bindparam("name"), environment.c.terminated_at.is_(None)
)
_ADD = environment.insert()
_OPTIONS = sa.select(option.c.namespace, option.c.name, option.c.resource, option.c.value).where(
    option.c.environment_id == sa.bindparam("of")
)
_REMOVE_OPTIONS = option.delete().where(option.c.environment_id == sa.bindparam("of"))
_ADD_OPTIONS = option.insert()
_RELEASE = sa.select(release).where(
    release.c.environment_id == sa.bindparam("of"), release.c.number == sa.bindparam("number")
)
_RELEASES = sa.select(release).where(release.c.environment_id == sa.bindparam("of")).order_by(release.c.number.desc())
_LAST_RELEASE = sa.select(sa.func.max(release.c.number)).where(release.c.environment_id == sa.bindparam("of"))
_ADD_RELEASE = release.insert()
_PASSED = (
    sa.select(release.c.digest)
    .where(release.c.environment_id == sa.bindparam("of"), release.c.passed_at.is_not(None))
    .order_by(release.c.number.desc())
)


@cache
def _update(columns: tuple[str, ...]) -> sa.Update:
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in columns}
    return environment.update().where(environment.c.id == sa.bindparam("of")).values(**new)


@cache
def _update_release(columns: tuple[str, ...]) -> sa.Update:
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in columns}
    mine = (release.c.environment_id == sa.bindparam("of"), release.c.number == sa.bindparam("of_number"))
    return release.update().where(*mine).values(**new)


def _new(columns: dict[str, object]) -> dict[str, object]:
    return {f"new_{name}": value for name, value in columns.items()}


def find(db: sa.Connection, environment_id: str) -> Environment | None:
    return rows.first(db, _BY_ID, Environment, of=environment_id)


def find_live(db: sa.Connection, name: str) -> Environment | None:
    """The environment of that name that is not terminated."""
    return rows.first(db, _BY_NAME, Environment, name=name)


def find_cname(db: sa.Connection, prefix: str) -> Environment | None:
    """The environment to which that name leads."""
    query = sa.select(environment).where(environment.c.cname_prefix == prefix, environment.c.terminated_at.is_(None))
    return rows.first(db, query, Environment)


def exchange_names(db: sa.Connection, one: Environment, other: Environment) -> None:
    """Each has the other's name from now on. No name is free in between: it is the caller's transaction."""
    update(db, one.id, cname_prefix=None)
    update(db, other.id, cname_prefix=one.cname_prefix)
    update(db, one.id, cname_prefix=other.cname_prefix)


def listed(
    db: sa.Connection,
    *,
    application: str | None = None,
    names: list[str] | None = None,
    ids: list[str] | None = None,
    version_label: str | None = None,
    deleted_since: int | None = None,
) -> list[Environment]:
    """The live ones, and those terminated at or after `deleted_since` (milliseconds), by name, newest first."""
    if not any(each is not None for each in (application, names, ids, version_label, deleted_since)):
        return rows.every(db, _LIVE, Environment)
    gone = environment.c.terminated_at
    shown = gone.is_(None) if deleted_since is None else sa.or_(gone.is_(None), gone >= deleted_since)
    query = sa.select(environment).where(shown).order_by(environment.c.name, environment.c.created_at.desc())
    if application is not None:
        query = query.where(environment.c.application == application)
    if names is not None:
        query = query.where(environment.c.name.in_(names))
    if ids is not None:
        query = query.where(environment.c.id.in_(ids))
    if version_label is not None:
        query = query.where(environment.c.version_label == version_label)
    return rows.every(db, query, Environment)


def names_deploying(db: sa.Connection, application: str, label: str) -> set[str]:
    """Names of the environments of the application with an open operation that brings this version."""
    query = (
        sa.select(environment.c.name)
        .join(operation, operation.c.environment_id == environment.c.id)
        .join(release, sa.and_(release.c.environment_id == environment.c.id, release.c.number == operation.c.release))
        .where(is_open, environment.c.application == application)
        .where(release.c.version_label == label)
    )
    return set(db.execute(query).scalars())


def labels_deploying(db: sa.Connection, application: str) -> set[str]:
    """Labels of the versions that open operations bring to environments of the application, or would go back to."""
    numbers = sa.or_(release.c.number == operation.c.release, release.c.number == operation.c.previous)
    query = (
        sa.select(release.c.version_label)
        .join(operation, sa.and_(operation.c.environment_id == release.c.environment_id, numbers))
        .join(environment, environment.c.id == operation.c.environment_id)
        .where(is_open, environment.c.application == application)
    )
    return set(db.execute(query).scalars())


def add(db: sa.Connection, new: Environment) -> None:
    db.execute(_ADD, msgspec.structs.asdict(new))


def update(db: sa.Connection, environment_id: str, **columns: object) -> None:
    db.execute(_update(tuple(columns)), {"of": environment_id, **_new(columns)})


def options(db: sa.Connection, environment_id: str) -> dict[OptionKey, str]:
    """The stored settings: what calls and saved configurations set, as of the last update that succeeded."""
    found = db.execute(_OPTIONS, {"of": environment_id})
    return {(namespace, name, resource): value for namespace, name, resource, value in found}


def put_options(db: sa.Connection, environment_id: str, settings: dict[OptionKey, str]) -> None:
    """Replace the stored settings."""
    db.execute(_REMOVE_OPTIONS, {"of": environment_id})
    if settings:
        columns = ("namespace", "name", "resource")
        db.execute(
            _ADD_OPTIONS,
            [
                {"environment_id": environment_id, "value": value} | dict(zip(columns, key, strict=True))
                for key, value in settings.items()
            ],
        )


def find_release(db: sa.Connection, environment_id: str, number: int | None) -> Release | None:
    return rows.first(db, _RELEASE, Release, of=environment_id, number=number) if number is not None else None


def releases(db: sa.Connection, environment_id: str) -> list[Release]:
    """Newest first."""
    return rows.every(db, _RELEASES, Release, of=environment_id)


def add_release(db: sa.Connection, environment_id: str, **columns: object) -> int:
    """Add a release under the next number of its environment, and answer that number."""
    number = (db.execute(_LAST_RELEASE, {"of": environment_id}).scalar() or 0) + 1
    db.execute(_ADD_RELEASE, {"environment_id": environment_id, "number": number, **columns})
    return number


def update_release(db: sa.Connection, environment_id: str, number: int, **columns: object) -> None:
    db.execute(_update_release(tuple(columns)), {"of": environment_id, "of_number": number, **_new(columns)})


def without_turn(digest: str) -> str:
    """What a release is, however often it was started anew."""
    return digest.partition(".")[0]


def kept_digests(db: sa.Connection, environment_id: str, count: int) -> list[str]:
    """Digests of the newest `count` different releases that passed, newest first: what instances keep for a return.

    Of several turns of one release the newest.
    """
    newest: dict[str, str] = {}
    for digest in db.execute(_PASSED, {"of": environment_id}).scalars():
        newest.setdefault(without_turn(digest), digest)
    return list(newest.values())[:count]
