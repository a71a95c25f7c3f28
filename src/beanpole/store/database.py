"""The database: SQLite in WAL mode by default; the tables keep to what PostgreSQL has too.

`Database.write()` is one transaction that sees no other writer (BEGIN IMMEDIATE on SQLite); `read()` is one snapshot.
Both are short: nothing in here waits for a network, an agent or a lock of ours while a transaction is open.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY_TIMEOUT = 10.0
"""Seconds that a writer waits for another one. Transactions here take milliseconds."""


class DatabaseUnusable(Exception):
    """The file is no database, or not one that this Beanpole understands; the message says why and what to do."""


class Database:
    """One open database. `clock` gives seconds since 1970 and is replaced by tests only."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        # Parameters are values of users, secrets among them: a failing statement must not bring them into a log.
        self.engine = sa.create_engine(url, hide_parameters=True)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _configure_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    @classmethod
    def at(cls, path: Path) -> Database:
        """The SQLite file at `path`, made (mode 0600) when missing, with every migration applied.

        Raises DatabaseUnusable, and leaves the file as it is.
        """
        path.touch(mode=0o600, exist_ok=True)
        database = cls(f"sqlite:///{path}")
        try:
            database.migrate()
        except (sa.exc.DatabaseError, CommandError) as problem:
            database.close()
            if isinstance(problem, sa.exc.OperationalError):
                raise  # of the moment: locked, or a disk that fails
            cause = getattr(problem, "orig", None) or problem
            remedy = "Put a backup in its place, or use the Beanpole that wrote it."
            raise DatabaseUnusable(f"the database {path} cannot be used: {cause}. {remedy}") from problem
        return database

    def migrate(self) -> None:
        """Bring the tables to this version of Beanpole. CommandError when the file was written by a newer one."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        with self.write() as db:
            config.attributes["connection"] = db
            command.upgrade(config, "head")

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with self.engine.connect().execution_options(beanpole_write=True) as db, db.begin():
            yield db

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as db, db.begin():
            yield db

    def now_ms(self) -> int:
        return int(self.clock() * 1000)

    def close(self) -> None:
        self.engine.dispose()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own; _begin_sqlite does
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={int(BUSY_TIMEOUT * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # The driver's own BEGIN is deferred: two readers that turn writers would fail with "database is locked" at once.
    write = connection.get_execution_options().get("beanpole_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
