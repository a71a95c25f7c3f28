"""One control plane at a time has a PostgreSQL database. (That of SQLite is in a home, and the home has a lock.)

A lock of a session keeps a second control plane out, and goes with the session, however the first one ends. It also
goes when the connection breaks while the first one lives, so tenures are numbered besides: whoever comes later has a
higher number, and in the transactions of the one before nothing can be written any more.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import sqlalchemy as sa

from beanpole.store import facts
from beanpole.store.database import DatabaseUnusable
from beanpole.store.postgresql import LOCK

if TYPE_CHECKING:
    from beanpole.store.database import Database

PATIENCE = 2.0
"""Seconds: the session of a control plane that was killed just now lives for a moment."""

_NUMBER = "tenure"
_HOLDER = "tenure-of"


class Superseded(Exception):
    """Another control plane has the database now; whoever sees this writes nothing more."""


class Tenure:
    """Of this process. `holder` says to others who it is: a home, for example. For one thread at a time."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = f"{holder} on {socket.gethostname()}, pid {os.getpid()}"
        self._session: sa.Connection | None = None
        self._number = 0

    def take(self) -> None:
        """Keep others out, before anything is changed. DatabaseUnusable when one is in."""
        limit = time.monotonic() + PATIENCE
        while not self._lock():
            if time.monotonic() < limit:
                time.sleep(0.1)
                continue
            shown = self._database.name
            raise DatabaseUnusable(
                f"another control plane{self._present()} uses the database {shown}. Stop it with `beanpole down`, or "
                "name a database of its own with --database."
            )

    def begin(self) -> None:
        """After the migrations: from now on nobody who had the database before can write to it."""
        with self._database.write() as db:
            self._number = facts.count_up(db, _NUMBER)
            facts.put(db, _HOLDER, self._holder)
        self._database.fence = self._prove

    def keep(self) -> None:
        """Look whether it lasts; the lock is taken again after the database was away. Raises Superseded."""
        try:
            if self._session is not None:
                self._session.exec_driver_sql("SELECT 1")
                return
        except sa.exc.SQLAlchemyError:
            self.leave()
        if not self._lock():
            raise Superseded(
                f"another control plane{self._present()} has the database {self._database.name} now. Applications keep "
                "serving; this one must not go on beside it."
            )
        with self._database.read() as db:
            self._prove(db)

    def leave(self) -> None:
        """Let others in."""
        if self._session is not None:
            self._session.invalidate()  # the session ends with its connection, and the lock with the session
            self._session.close()
            self._session = None

    def _lock(self) -> bool:
        # Without a transaction: the server ends those that stand still.
        self._session = self._database.engine.connect()
        locked = False
        try:
            locked = bool(self._session.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK + 1})").scalar())
        finally:
            if not locked:
                self.leave()
        return locked

    def _prove(self, db: sa.Connection) -> None:
        if facts.count(db, _NUMBER) != self._number:
            raise Superseded(
                f"another control plane{self._present()} has had the database {self._database.name} in the meantime. "
                "Applications keep serving; start this one again."
            )

    def _present(self) -> str:
        """Who has it, as far as it can be known."""
        try:
            with self._database.read() as db:
                holder = facts.find(db, _HOLDER)
        except sa.exc.DBAPIError:
            return ""  # it is just making the tables
        return f" ({holder})" if holder else ""
