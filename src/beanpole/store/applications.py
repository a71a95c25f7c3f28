"""Applications and their versions."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from beanpole.store import rows, templates
from beanpole.store.schema import application, version


class Application(msgspec.Struct, frozen=True):
    name: str
    description: str | None
    created_at: int
    updated_at: int
    deleting: str | None = None
    lifecycle: str | None = None


class Version(msgspec.Struct, frozen=True):
    application: str
    label: str
    description: str | None
    bucket: str | None
    key: str | None
    bundle: str | None
    manifest: str
    status: str
    created_at: int
    updated_at: int


# Built once; see operations.py.
_VERSION = sa.select(version).where(
    version.c.application == sa.bindparam("of"), version.c.label == sa.bindparam("label")
)


def find(db: sa.Connection, name: str) -> Application | None:
    return rows.first(db, sa.select(application).where(application.c.name == name), Application)


def listed(db: sa.Connection, names: list[str] | None = None) -> list[Application]:
    query = sa.select(application).order_by(application.c.name)
    return rows.every(db, query if names is None else query.where(application.c.name.in_(names)), Application)


def add(db: sa.Connection, new: Application) -> None:
    db.execute(application.insert().values(**msgspec.structs.asdict(new)))


def update(db: sa.Connection, name: str, **columns: object) -> None:
    db.execute(application.update().where(application.c.name == name).values(**columns))


def remove(db: sa.Connection, name: str) -> None:
    """Remove the application, its versions and its saved configurations.

    Its environments must be terminated; their records stay.
    """
    templates.remove_all(db, name)
    db.execute(version.delete().where(version.c.application == name))
    db.execute(application.delete().where(application.c.name == name))


def find_version(db: sa.Connection, application_name: str, label: str) -> Version | None:
    return rows.first(db, _VERSION, Version, of=application_name, label=label)


def versions(db: sa.Connection, application_name: str | None = None, labels: list[str] | None = None) -> list[Version]:
    """Newest first."""
    query = sa.select(version).order_by(version.c.created_at.desc(), version.c.label)
    if application_name is not None:
        query = query.where(version.c.application == application_name)
    if labels is not None:
        query = query.where(version.c.label.in_(labels))
    return rows.every(db, query, Version)


def count_versions(db: sa.Connection) -> int:
    """Of all applications together."""
    return db.execute(sa.select(sa.func.count()).select_from(version)).scalar_one()


def add_version(db: sa.Connection, new: Version) -> None:
    db.execute(version.insert().values(**msgspec.structs.asdict(new)))


def update_version(db: sa.Connection, application_name: str, label: str, **columns: object) -> None:
    query = version.update().where(version.c.application == application_name, version.c.label == label)
    db.execute(query.values(**columns))


def remove_version(db: sa.Connection, application_name: str, label: str) -> None:
    db.execute(version.delete().where(version.c.application == application_name, version.c.label == label))
