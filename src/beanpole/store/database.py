"""The database: SQLite in WAL mode by default, or PostgreSQL; the tables, and what transactions promise, are the same.

`Database.write()` is one transaction that sees no other writer; `read()` is one snapshot. Both are short: nothing in
here waits for a network, an agent or a lock of ours while a transaction is open. What keeps a transaction from being
made just now, such as a server that does not answer, is an OperationalError. One in the moment of the commit leaves it
unknown whether the transaction is there.
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

from beanpole.store import postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY_TIMEOUT = 10.0
"""Seconds that a writer waits for another one. Transactions here take milliseconds."""


class DatabaseUnusable(Exception):
    """It is no database, or not one that this Beanpole can use; the message says why and what to do."""


class Database:
    """One open database. `clock` gives seconds since 1970 and is replaced by tests only.

    `fence`, if there is one, is called at the begin of every transaction that writes, and raises to forbid it.
    """

    def __init__(self, url: str | sa.URL, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.fence: Callable[[sa.Connection], None] = lambda db: None
        # Parameters are values of users, secrets among them: a failing statement must not bring them into a log.
        options: dict[str, Any] = {"hide_parameters": True}
        if sa.make_url(url).get_backend_name() == "postgresql":
            self.engine = sa.create_engine(url, **options, **postgresql.options(BUSY_TIMEOUT))
            postgresql.configure(self.engine, BUSY_TIMEOUT)
        else:
            self.engine = sa.create_engine(url, **options)
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
            database.bring_up_to_date()
        except BaseException:
            database.close()
            raise
        return database

    def bring_up_to_date(self) -> None:
        """`migrate`, with DatabaseUnusable for what does not pass by itself."""
        try:
            self.migrate()
        except (sa.exc.DatabaseError, CommandError) as problem:
            if isinstance(problem, sa.exc.OperationalError):
                raise  # of the moment: locked, or a disk that fails
            cause = str(getattr(problem, "orig", None) or problem).partition("\n")[0]
            remedy = "Put a backup in its place, or use the Beanpole that wrote it."
            if self.engine.dialect.name == "postgresql":
                remedy = "Let its user make tables there; if a newer Beanpole wrote it, use that one."
            raise DatabaseUnusable(f"the database {self.name} cannot be used: {cause}. {remedy}") from problem

    def migrate(self) -> None:
        """Bring the tables to this version of Beanpole. CommandError when the database was written by a newer one."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        with self.write() as db:
            config.attributes["connection"] = db
            command.upgrade(config, "head")

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with self._begun(write=True) as db:
            self.fence(db)
            yield db

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        with self._begun(write=False) as db:
            yield db

    @contextmanager
    def _begun(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            with self.engine.connect().execution_options(beanpole_write=write) as db, db.begin():
                yield db
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as problem:
            if not postgresql.is_of_the_moment(problem):
                raise
            cause = getattr(problem, "orig", None) or problem
            raise sa.exc.OperationalError("", None, cause, hide_parameters=True) from problem

    @property
    def name(self) -> str:
        """For people: a path, or an address without its password."""
        url = self.engine.url
        return postgresql.shown(url) if url.drivername == postgresql.DRIVER else url.database or ""

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
