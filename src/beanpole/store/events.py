"""Events: what a client follows an operation by.

Their times grow strictly, by at least one millisecond, in commit order: clients ask for what came after the last one
that they saw, so two events of one millisecond would cost them the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import sqlalchemy as sa

from beanpole.store import rows
from beanpole.store.schema import event

if TYPE_CHECKING:
    from beanpole.store.database import Database

Severity = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]

Said = tuple[str, Severity]
"""One event's words, and how severe they are."""

SEVERITIES: tuple[Severity, ...] = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

KEPT_MS = 90 * 24 * 3600 * 1000
"""Events are kept for 90 days, as Elastic Beanstalk keeps them at most."""


class Event(msgspec.Struct, frozen=True):
    at: int
    severity: Severity
    message: str
    application: str | None = None
    environment_id: str | None = None
    environment_name: str | None = None
    version_label: str | None = None
    request_id: str | None = None


class Subject(msgspec.Struct, frozen=True):
    """What events speak of: the fields that they share."""

    application: str | None = None
    environment_id: str | None = None
    environment_name: str | None = None
    version_label: str | None = None
    request_id: str | None = None


class Filter(msgspec.Struct, frozen=True):
    application: str | None = None
    environment_id: str | None = None
    environment_name: str | None = None
    version_label: str | None = None
    request_id: str | None = None
    severity: Severity | None = None
    """The least severe to be listed."""
    since: int | None = None
    """Milliseconds; events at or after it."""
    until: int | None = None
    """Milliseconds; events before it."""


# Built once; see operations.py.
_LAST = sa.select(sa.func.max(event.c.at))
_SAY = event.insert()


def say(db: sa.Connection, now: int, subject: Subject, message: str, severity: Severity = "INFO") -> int:
    """Add one event in the caller's transaction; answers its time in milliseconds."""
    last = db.execute(_LAST).scalar() or 0
    at = max(now, last + 1)
    db.execute(_SAY, {"at": at, "message": message, "severity": severity, **msgspec.structs.asdict(subject)})
    return at


def listed(db: sa.Connection, wanted: Filter, limit: int | None = None) -> list[Event]:
    """The events that pass the filter, newest first."""
    query = sa.select(event).order_by(event.c.at.desc())
    for name in ("application", "environment_id", "environment_name", "version_label", "request_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(event.c[name] == value)
    if wanted.severity is not None:
        query = query.where(event.c.severity.in_(SEVERITIES[SEVERITIES.index(wanted.severity) :]))
    if wanted.since is not None:
        query = query.where(event.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(event.c.at < wanted.until)
    return rows.every(db, query if limit is None else query.limit(limit), Event)


def prune(database: Database) -> None:
    with database.write() as db:
        db.execute(event.delete().where(event.c.at < database.now_ms() - KEPT_MS))
