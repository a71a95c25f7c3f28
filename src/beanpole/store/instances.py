"""Instances and their endpoints: which releases run where, and which of them get requests."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import sqlalchemy as sa

from beanpole.store import rows
from beanpole.store.schema import endpoint, instance, release

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Instance(msgspec.Struct, frozen=True):
    id: str
    environment_id: str
    state: Literal["launching", "running", "terminating"]
    address: str
    release: int | None
    launched_at: int
    silent_since: int | None = None
    """Its agent does not answer since then, so what is there is unknown; None: it answers, as far as is known."""
    host: str | None = None
    """Id of the server that it lives on; None: this machine."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a release answers. A serving one gets new requests, a draining one only finishes those that it has.

    `weight`: what it gets of them, beside the other serving ones of its environment; 0: nothing, though it is checked.
    """

    instance_id: str
    digest: str
    address: str
    port: int
    state: Literal["serving", "draining"]
    since: int
    health: str
    """JSON: how the balancer checks it. Of its own release, since two releases may answer on different paths."""
    files_port: int | None = None
    """Where the release's static files are served, at the instance's address; None: it has none."""
    files_paths: str | None = None
    """The paths below which they are, separated by blanks."""
    weight: int = 1
    pin: str | None = None
    """JSON, a Pin of the balancer: by what testers choose it; None: by nothing."""


# Built once; see operations.py.
_BY_ID = sa.select(instance).where(instance.c.id == sa.bindparam("of"))
_LISTED = sa.select(instance).order_by(instance.c.launched_at, instance.c.id)
_OF_ENVIRONMENT = _LISTED.where(instance.c.environment_id == sa.bindparam("of"))
_ENDPOINTS = (
    sa.select(endpoint)
    .join(instance, instance.c.id == endpoint.c.instance_id)
    .order_by(instance.c.launched_at, instance.c.id)
)
_ENDPOINTS_OF_ENVIRONMENT = _ENDPOINTS.where(instance.c.environment_id == sa.bindparam("of"))
_ENDPOINTS_OF = sa.select(endpoint).where(endpoint.c.instance_id == sa.bindparam("of"))
_ADD = instance.insert()
_REMOVE = instance.delete().where(instance.c.id == sa.bindparam("of"))
_REMOVE_ENDPOINTS = endpoint.delete().where(endpoint.c.instance_id == sa.bindparam("of"))
_SHARE = endpoint.update().where(endpoint.c.instance_id == sa.bindparam("of")).values(weight=sa.bindparam("new"))
_PUT = endpoint.insert()
_DRAIN_ALL = (
    endpoint.update()
    .where(endpoint.c.instance_id == sa.bindparam("of"), endpoint.c.state != "draining")
    .values(state="draining", since=sa.bindparam("now"))
)
_DRAIN_OTHERS = _DRAIN_ALL.where(endpoint.c.digest != sa.bindparam("keep"))
_REMOVE_ENDPOINT = endpoint.delete().where(
    endpoint.c.instance_id == sa.bindparam("of"), endpoint.c.digest == sa.bindparam("release")
)


@cache
def _update(columns: tuple[str, ...]) -> sa.Update:
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in columns}
    return instance.update().where(instance.c.id == sa.bindparam("of")).values(**new)


def find(db: sa.Connection, instance_id: str) -> Instance | None:
    return rows.first(db, _BY_ID, Instance, of=instance_id)


def listed(db: sa.Connection, environment_id: str | None = None) -> list[Instance]:
    """In the order in which they were launched."""
    if environment_id is None:
        return rows.every(db, _LISTED, Instance)
    return rows.every(db, _OF_ENVIRONMENT, Instance, of=environment_id)


def add(db: sa.Connection, new: Instance) -> None:
    db.execute(_ADD, msgspec.structs.asdict(new))


def update(db: sa.Connection, instance_id: str, **columns: object) -> None:
    new = {f"new_{name}": value for name, value in columns.items()}
    db.execute(_update(tuple(columns)), {"of": instance_id, **new})


def remove(db: sa.Connection, instance_id: str) -> None:
    db.execute(_REMOVE_ENDPOINTS, {"of": instance_id})
    db.execute(_REMOVE, {"of": instance_id})


def endpoints(db: sa.Connection, environment_id: str | None = None) -> list[Endpoint]:
    if environment_id is None:
        return rows.every(db, _ENDPOINTS, Endpoint)
    return rows.every(db, _ENDPOINTS_OF_ENVIRONMENT, Endpoint, of=environment_id)


def booted(db: sa.Connection) -> dict[str, str]:
    """The digest of the release that each instance starts when its machine does, by instance id."""
    query = sa.select(instance.c.id, release.c.digest).join(
        release, sa.and_(release.c.environment_id == instance.c.environment_id, release.c.number == instance.c.release)
    )
    return {row.id: row.digest for row in db.execute(query)}


def endpoints_of(db: sa.Connection, instance_id: str) -> list[Endpoint]:
    return rows.every(db, _ENDPOINTS_OF, Endpoint, of=instance_id)


def put_endpoint(db: sa.Connection, new: Endpoint) -> None:
    remove_endpoint(db, new.instance_id, new.digest)
    db.execute(_PUT, msgspec.structs.asdict(new))


def drain(db: sa.Connection, now: int, instance_id: str, *, keep: str | None) -> None:
    """No new requests to any release of the instance but the one with the digest `keep`."""
    if keep is None:
        db.execute(_DRAIN_ALL, {"of": instance_id, "now": now})
    else:
        db.execute(_DRAIN_OTHERS, {"of": instance_id, "now": now, "keep": keep})


def drain_anew(db: sa.Connection, now: int, instance_id: str) -> None:
    """What drains there has its whole time from now on."""
    draining = sa.and_(endpoint.c.instance_id == instance_id, endpoint.c.state == "draining")
    db.execute(endpoint.update().where(draining).values(since=now))


def set_health(db: sa.Connection, instance_id: str, health: str) -> None:
    db.execute(endpoint.update().where(endpoint.c.instance_id == instance_id).values(health=health))


def share(db: sa.Connection, weights: Mapping[str, int]) -> None:
    """The endpoints of these instances get that weight; see `Endpoint`."""
    for instance_id, weight in weights.items():
        db.execute(_SHARE, {"of": instance_id, "new": weight})


def pin(db: sa.Connection, chosen: Collection[str], pin: str | None) -> None:
    """By that testers choose these instances; see `Endpoint`."""
    db.execute(endpoint.update().where(endpoint.c.instance_id.in_(list(chosen))).values(pin=pin))


def remove_endpoint(db: sa.Connection, instance_id: str, digest: str) -> None:
    db.execute(_REMOVE_ENDPOINT, {"of": instance_id, "release": digest})
