"""Saved configurations: the objects `resources/templates/APPLICATION/NAME` of the service's bucket.

The objects are the one store of them. The EB CLI makes, replaces and fetches saved configurations by S3 alone, so a
table beside the bucket would be wrong after the first `eb config put`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from beanpole.store import rows
from beanpole.store.facts import bucket_of
from beanpole.store.schema import object_

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "resources/templates/"
NAME_LIMIT = 100
"""Characters of a name. An object with a longer one, or with a further slash, is no saved configuration."""


def key(application: str, name: str) -> str:
    return f"{FOLDER}{application}/{name}"


def names(db: sa.Connection) -> Mapping[str, list[str]]:
    """The names of all saved configurations, sorted, by application."""
    found: dict[str, list[str]] = defaultdict(list)
    query = sa.select(object_.c.key).where(_below(db, FOLDER)).order_by(object_.c.key)
    for path in db.execute(query).scalars():
        application, _, name = path.removeprefix(FOLDER).partition("/")
        if 0 < len(name) <= NAME_LIMIT and "/" not in name:
            found[application].append(name)
    return found


def exists(db: sa.Connection, application: str, name: str) -> bool:
    where = (object_.c.bucket == bucket_of(db)) & (object_.c.key == key(application, name))
    return bool(db.scalar(sa.select(sa.exists().where(where))))


def remove_all(db: sa.Connection, application: str) -> None:
    """Those of an application that goes. Their content is swept away with what nothing refers to any more."""
    db.execute(object_.delete().where(_below(db, key(application, ""))))


def _below(db: sa.Connection, prefix: str) -> sa.ColumnElement[bool]:
    return (object_.c.bucket == bucket_of(db)) & rows.begins(object_.c.key, prefix)
