"""Access keys: who may call the API."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING

import sqlalchemy as sa

from beanpole.aws.call import AccessKey
from beanpole.store import rows
from beanpole.store.schema import access_key

if TYPE_CHECKING:
    from beanpole.store.database import Database


def find(database: Database, key_id: str) -> AccessKey | None:
    with database.read() as db:
        return rows.first(db, sa.select(access_key).where(access_key.c.id == key_id), AccessKey)


def first_of(database: Database, user: str) -> AccessKey:
    """The oldest key of that user, made when there is none. The id looks as clients expect one of AWS to look."""
    alphabet = string.ascii_uppercase + "234567"
    fresh = AccessKey("AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)), secrets.token_urlsafe(30), user)
    with database.write() as db:
        known = rows.first(
            db, sa.select(access_key).where(access_key.c.user == user).order_by(access_key.c.created_at), AccessKey
        )
        if known is None:
            db.execute(
                access_key.insert().values(
                    id=fresh.id, secret=fresh.secret, user=fresh.user, created_at=database.now_ms()
                )
            )
    return known or fresh
