"""The audit log: who asked for which change, from where, and what was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from beanpole.store.schema import audit

if TYPE_CHECKING:
    from beanpole.store.database import Database


def record(
    database: Database,
    *,
    user: str,
    source: str,
    service: str,
    operation: str,
    subject: str,
    request_id: str,
    outcome: str,
) -> None:
    with database.write() as db:
        db.execute(
            audit.insert().values(
                at=database.now_ms(),
                user=user,
                source=source,
                service=service,
                operation=operation,
                subject=subject,
                request_id=request_id,
                outcome=outcome,
            )
        )


def prune(database: Database, before: int, most: int) -> None:
    """Forget calls before that time (milliseconds), and those before the newest `most`."""
    with database.write() as db:
        db.execute(audit.delete().where(audit.c.at < before))
        beyond = db.scalar(sa.select(audit.c.id).order_by(audit.c.id.desc()).offset(most).limit(1))
        if beyond is not None:
            db.execute(audit.delete().where(audit.c.id <= beyond))
