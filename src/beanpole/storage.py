"""Where a home's store is: in a file of its own, or in a PostgreSQL database, which the home then remembers.

A store speaks of blobs and instances that are in the home, so the two belong together: a home with the store of another
one, or without its own, is refused before anything is changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import sqlalchemy as sa

from beanpole.home import Home
from beanpole.store import facts
from beanpole.store.database import Database, DatabaseUnusable
from beanpole.store.postgresql import BadAddress, address, shown
from beanpole.store.schema import metadata
from beanpole.store.tenure import Tenure

VARIABLE = "BEANPOLE_DATABASE"

AT_ONCE = 1000
"""Rows that are copied in one statement."""

OLDEST = (13,)
"""Of PostgreSQL's versions: those before it are not maintained any more."""


class Remembered(msgspec.Struct, frozen=True):
    store: str
    """The store's id. It is chosen here first, so that a crash at the first start leaves no doubt whose a store is."""
    address: str
    """Without its password."""
    made: bool = False
    """Whether the store has come about."""


def chosen(option: str | None, home: Home) -> sa.URL | None:
    """`--database`, else BEANPOLE_DATABASE, else the one that the home remembers; None: the file in the home.

    Raises DatabaseUnusable for what is no address.
    """
    remembered = _remembered(home)
    text = option or os.environ.get(VARIABLE) or (remembered.address if remembered is not None else None)
    try:
        return address(text) if text else None
    except BadAddress as problem:
        raise DatabaseUnusable(str(problem)) from None


@contextmanager
def opened(home: Home, where: sa.URL | None, region: str) -> Iterator[tuple[Database, Tenure | None]]:
    """The home's store, for this process alone; the home is locked. Raises DatabaseUnusable.

    `region`: of a store that is made now. On a server whoever uses it has to `keep` the tenure.
    """
    if where is None:
        database = Database.at(home.database)
        try:
            yield database, None
        finally:
            database.close()
        return
    with _server(home, where) as (database, tenure):
        with _answering(database):
            _begin(home, database, tenure, region)
        yield database, tenure


@contextmanager
def _server(home: Home, where: sa.URL) -> Iterator[tuple[Database, Tenure]]:
    try:
        database = Database(where)
    except ImportError as missing:
        raise DatabaseUnusable(
            f"the driver for PostgreSQL cannot be loaded: {missing}. Get it with `pip install 'beanpole[postgresql]'`."
        ) from missing
    tenure = Tenure(database, str(home.root))
    try:
        yield database, tenure
    finally:
        tenure.leave()
        database.close()


@contextmanager
def _answering(database: Database) -> Iterator[None]:
    """Here, unlike later, a database that does not answer is no use. Raises DatabaseUnusable."""
    try:
        yield
    except sa.exc.OperationalError as problem:
        cause = " ".join(str(problem.orig).splitlines()[:1]).rstrip(".")
        raise DatabaseUnusable(
            f"the database {database.name} does not answer as it should: {cause}. Look whether it runs and whether "
            "this user may use it; a password comes from PGPASSFILE, a service file or PGPASSWORD."
        ) from problem


def move(home: Home, where: sa.URL) -> None:
    """Copy the home's store from its file into an empty database, where it is from then on. Raises DatabaseUnusable.

    The home is locked. All of it arrives in one transaction. Until then the file is the store; afterwards it stays
    beside, under another name.
    """
    if not home.database.exists() or _remembered(home) is not None:
        raise DatabaseUnusable(f"the home {home.root} has no store in a file. Start it without --move.")
    file = Database.at(home.database)
    try:
        with _server(home, where) as (database, tenure), _answering(database):
            tenure.take()
            if (found := _store_in(database)) is not None:
                raise DatabaseUnusable(
                    f"the database {database.name} holds the store {found}. Move to an empty database; if this one is "
                    "from a move that was cut short, make it anew."
                )
            database.bring_up_to_date()
            with file.read() as source, database.write() as target:
                store = facts.find(source, "store")
                for table in metadata.sorted_tables:
                    _copy(table, source, target)
            if store is not None:
                _remember(home, Remembered(store, database.name, made=True))
    finally:
        file.close()
    home.database.rename(home.database.with_suffix(".db.moved"))


def _copy(table: sa.Table, source: sa.Connection, target: sa.Connection) -> None:
    for rows in source.execute(sa.select(table)).mappings().partitions(AT_ONCE):
        target.execute(table.insert(), [dict(row) for row in rows])
    if (counted := table.autoincrement_column) is not None:
        next_ = sa.select(sa.func.coalesce(sa.func.max(counted), 0) + 1).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence(table.name, counted.name)
        target.execute(sa.select(sa.func.setval(sequence, next_, sa.false())))


def _begin(home: Home, database: Database, tenure: Tenure, region: str) -> None:
    """Everything is looked at before anything is written."""
    remembered = _remembered(home)
    if remembered is None and home.database.exists():
        raise DatabaseUnusable(
            f"the home {home.root} has its store in {home.database}, and the database {database.name} is named "
            "besides. Start it without that, move the store there with --move, or choose a new home with --home."
        )
    tenure.take()
    found = _store_in(database)
    ours = remembered or Remembered(facts.new_id(), "")
    if found != ours.store and (ours.made or found is not None):
        whose = f"the store {ours.store}" if ours.made else "none yet"
        has = f"holds the store {found}" if found is not None else "is empty"
        raise DatabaseUnusable(
            f"the database {database.name} {has}, and the home {home.root} has {whose}. Use the home and the database "
            "that belong together, or a new home with an empty database."
        )
    database.bring_up_to_date()
    tenure.begin()
    ours = msgspec.structs.replace(ours, address=shown(database.engine.url))
    _remember(home, ours)
    facts.identity(database, region, ours.store)
    _remember(home, msgspec.structs.replace(ours, made=True))


def _store_in(database: Database) -> str | None:
    """The id of the store in it, None when it is empty. DatabaseUnusable when no store can be in it."""
    with database.read() as db:
        version = db.dialect.server_version_info or ()
        encoding = db.exec_driver_sql("SHOW server_encoding").scalar()
        tables = set(sa.inspect(db).get_table_names())
        ours = {"fact", "alembic_version"} <= tables
        found = facts.find(db, "store") if ours else None
    if version < OLDEST:
        raise DatabaseUnusable(
            f"the database {database.name} is of PostgreSQL {'.'.join(map(str, version))}. Use {OLDEST[0]} or newer."
        )
    if encoding != "UTF8":
        raise DatabaseUnusable(
            f"the database {database.name} has the encoding {encoding}. Make one with ENCODING 'UTF8'."
        )
    if tables and not ours:
        raise DatabaseUnusable(
            f"the database {database.name} has tables of something else. Name an empty database with --database."
        )
    return found


def _remembered(home: Home) -> Remembered | None:
    try:
        return msgspec.json.decode(home.store.read_bytes(), type=Remembered)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as problem:
        raise DatabaseUnusable(
            f"{home.store} cannot be read: {problem}. It says where the home's store is: put a backup in its place."
        ) from problem


def _remember(home: Home, what: Remembered) -> None:
    home.keep(home.store, msgspec.json.encode(what).decode())
