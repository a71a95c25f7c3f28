"""The buckets: names with a date."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from beanpole.aws.errors import AwsError
from beanpole.services.s3.router import check_bucket_name
from beanpole.store.database import Database
from beanpole.store.schema import bucket, object_, upload


@dataclass(frozen=True, slots=True)
class BucketRow:
    """`created_at` is in milliseconds since 1970."""

    name: str
    created_at: int


class Buckets:
    """All users share them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str) -> None:
        """Make the bucket. Harmless when it is there."""
        check_bucket_name(name)
        with self._database.write() as db:
            if not exists(db, name):
                db.execute(sa.insert(bucket).values(name=name, created_at=self._database.now_ms()))

    def all(self) -> list[BucketRow]:
        query = sa.select(bucket.c.name, bucket.c.created_at).order_by(bucket.c.name)
        with self._database.read() as db:
            return [BucketRow(*row) for row in db.execute(query)]

    def require(self, name: str) -> None:
        """NoSuchBucket unless it is there."""
        with self._database.read() as db:
            require(db, name)

    def delete(self, name: str) -> None:
        """Remove an empty bucket; BucketNotEmpty for another."""
        with self._database.write() as db:
            require(db, name)
            for table in (object_, upload):
                if db.scalar(sa.select(sa.exists().where(table.c.bucket == name))):
                    raise AwsError("BucketNotEmpty", "The bucket still has objects or uploads.", 409, BucketName=name)
            db.execute(sa.delete(bucket).where(bucket.c.name == name))


def exists(db: sa.Connection, name: str) -> bool:
    return bool(db.scalar(sa.select(sa.exists().where(bucket.c.name == name))))


def require(db: sa.Connection, name: str) -> None:
    """NoSuchBucket unless it is there, in a transaction that goes on."""
    if not exists(db, name):
        raise AwsError("NoSuchBucket", f"There is no bucket {name}.", 404, BucketName=name)
