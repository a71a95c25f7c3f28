"""What this store is, decided once when it is made, what was decided for all of it, and the counters that only grow."""

from __future__ import annotations

import secrets
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from beanpole.store.rows import begins
from beanpole.store.schema import fact

if TYPE_CHECKING:
    from beanpole.store.database import Database


class Identity(msgspec.Struct, frozen=True):
    """Names that appear in ARNs and that agents use to tell one Beanpole from another."""

    store: str
    account: str
    """Twelve digits: clients parse it out of ARNs and accept digits only."""
    region: str

    @property
    def bucket(self) -> str:
        """Where bundles, saved configurations and logs are kept, by Elastic Beanstalk's naming rule."""
        return _bucket(self.region, self.account)


def bucket_of(db: sa.Connection) -> str:
    """`Identity.bucket`, for whoever has no more than a transaction."""
    return _bucket(find(db, "region") or "", find(db, "account") or "")


def _bucket(region: str, account: str) -> str:
    return f"elasticbeanstalk-{region}-{account}"


def identity(database: Database, region: str, store: str | None = None) -> Identity:
    """This store's identity; made at the first call. `region` and `store`, an id that was chosen, count then only."""
    fresh = {
        "store": store or new_id(),
        "account": str(secrets.randbelow(9 * 10**11) + 10**11),
        "region": region,
    }
    with database.write() as db:
        known = dict(db.execute(sa.select(fact.c.name, fact.c.value).where(fact.c.name.in_(fresh))).all())
        for name, value in fresh.items():
            if name not in known:
                db.execute(fact.insert().values(name=name, value=value))
    return msgspec.convert(fresh | known, Identity)


def new_id() -> str:
    """For a store that is to be made."""
    return secrets.token_hex(8)


def find(db: sa.Connection, name: str) -> str | None:
    return db.execute(sa.select(fact.c.value).where(fact.c.name == name)).scalar()


def below(db: sa.Connection, prefix: str) -> dict[str, str]:
    """Facts whose name begins so, by the rest of their names, sorted."""
    query = sa.select(fact.c.name, fact.c.value).where(begins(fact.c.name, prefix))
    return {name.removeprefix(prefix): value for name, value in db.execute(query.order_by(fact.c.name))}


def put(db: sa.Connection, name: str, value: str) -> None:
    remove(db, name)
    db.execute(fact.insert().values(name=name, value=value))


def remove(db: sa.Connection, name: str) -> None:
    db.execute(fact.delete().where(fact.c.name == name))


def raise_to(db: sa.Connection, name: str, least: int) -> None:
    """A counter's next number is greater than `least`: somebody else has seen that one, from a later state of ours."""
    while count_up(db, name) < least:
        db.execute(fact.update().where(fact.c.name == f"counter:{name}").values(value=str(least - 1)))


def count(db: sa.Connection, name: str) -> int:
    """The last number that a counter gave; 0 before its first."""
    return int(find(db, f"counter:{name}") or 0)


def count_up(db: sa.Connection, name: str) -> int:
    """The next number of a counter: 1 at first, and never the same twice."""
    return int(db.execute(_counting(db.dialect.name), {"name": f"counter:{name}", "value": "1"}).scalar_one())


@cache
def _counting(dialect: str) -> sa.Executable:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    grown = sa.cast(sa.cast(fact.c.value, sa.BigInteger) + 1, sa.Text)
    return (
        insert(fact).on_conflict_do_update(index_elements=[fact.c.name], set_={"value": grown}).returning(fact.c.value)
    )
