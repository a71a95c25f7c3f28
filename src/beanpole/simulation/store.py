"""The store of a simulation: real SQL in a real SQLite, in memory, reached past SQLAlchemy's machinery.

SQLAlchemy compiles every statement, as always; what it takes to execute one (pools, events, result objects) would be
most of a simulation's time, and nothing of what is to be simulated. Each control plane has a `SimulatedDatabase` of its
own on the one store, with a clock of its own, that fails when it is told to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import StaticPool

from beanpole.simulation.loop import Process
from beanpole.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIALECT = SQLiteDialect_pysqlite(paramstyle="named")

_compiled: dict[Any, tuple[str, Any]] = {}


@cache
def _image() -> bytes:
    """A database with all tables and nothing in them."""
    database = Database("sqlite://")
    database.engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    database.migrate()
    connection = database.engine.raw_connection().driver_connection
    image: bytes = cast("sqlite3.Connection", connection).serialize()
    database.close()
    return image


class Store:
    """One database file, so to speak. `changed` is called after every transaction that wrote."""

    def __init__(self) -> None:
        self.sqlite = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.sqlite.deserialize(_image())
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "foreign_keys=ON"):
            self.sqlite.execute(f"PRAGMA {pragma}")
        self.changed: Callable[[], None] = lambda: None

    def ask(self, query: str, *values: object) -> list[Any]:
        """Rows, for whoever watches; not for those who are watched."""
        return self.sqlite.execute(query, values).fetchall()

    def close(self) -> None:
        self.sqlite.close()


class SimulatedDatabase(Database):
    """As one control plane has it. `fails` says before each transaction whether, and where, it fails: "" for not."""

    def __init__(self, store: Store, clock: Callable[[], float], process: Process) -> None:
        self.clock = clock
        self._store = store
        self._process = process
        self.fails: Callable[[], str] = lambda: ""

    def close(self) -> None:
        pass

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db
        self._store.changed()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        refuse_dead(self._process)
        sqlite = self._store.sqlite
        failure = self.fails()
        if failure == "begin":
            raise _failure(begin)
        sqlite.execute(begin)
        try:
            yield cast("sa.Connection", _Connection(sqlite))
            if failure == "commit":
                raise _failure("COMMIT")
        except BaseException:
            sqlite.execute("ROLLBACK")
            raise
        sqlite.execute("COMMIT")
        if failure == "answer":
            # It is written, and whoever wrote it does not hear of it.
            self._store.changed()
            raise _failure("COMMIT")


def refuse_dead(process: Process) -> None:
    """Nothing that a killed process does has any effect."""
    if process.dead:
        raise _Dead(process.name)


class _Dead(BaseException):
    """Ends whatever still moves in a process that was killed."""


def _failure(statement: str) -> sa.exc.OperationalError:
    return sa.exc.OperationalError(statement, None, sqlite3.OperationalError("disk I/O error (simulated)"))


class _Connection:
    """As much of an sa.Connection as the store's functions use."""

    dialect = DIALECT

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite

    def execute(self, statement: Any, parameters: Any = None) -> _Result:
        several = isinstance(parameters, list)
        sql, complete = _sql(statement, parameters[0] if several else parameters)
        try:
            if several:
                return _Result(self._sqlite.executemany(sql, [complete(each) for each in parameters]))
            return _Result(self._sqlite.execute(sql, complete(parameters)))
        except sqlite3.IntegrityError as conflict:
            raise sa.exc.IntegrityError(sql, None, conflict) from conflict


Complete = Callable[[Any], dict[str, Any]]


def _sql(statement: Any, parameters: Any) -> tuple[str, Complete]:
    """What SQLAlchemy makes of a statement: once for one that is built once, else once for each shape."""
    names = tuple(parameters) if parameters else ()
    seen: dict[tuple[str, ...], tuple[str, Complete]] = statement.__dict__.setdefault("_simulated", {})
    if names not in seen:
        seen[names] = _compiled_like(statement, names)
    return seen[names]


def _compiled_like(statement: Any, names: tuple[str, ...]) -> tuple[str, Complete]:
    key = statement._generate_cache_key()
    known = _compiled.get((key.key, names)) if key is not None else None
    if known is None:
        compiled = statement.compile(dialect=DIALECT, column_keys=list(names) or None, cache_key=key)
        if key is None or compiled.post_compile_params:
            # Lists of values: another text for each length.
            compiled = statement.compile(
                dialect=DIALECT, column_keys=list(names) or None, compile_kwargs={"render_postcompile": True}
            )
            return str(compiled), partial(compiled.construct_params, extracted_parameters=None)
        known = _compiled[key.key, names] = str(compiled), compiled
    sql, compiled = known
    given = compiled.construct_params(dict.fromkeys(names), extracted_parameters=key.bindparams)
    return sql, lambda parameters: given | parameters if parameters else given


class _Result:
    """As much of an sa.CursorResult."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.rowcount = cursor.rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all())

    @property
    def inserted_primary_key(self) -> tuple[Any]:
        return (self._cursor.lastrowid,)

    def keys(self) -> list[str]:
        return [column[0] for column in self._cursor.description]

    def all(self) -> Sequence[Any]:
        return self._cursor.fetchall()

    def first(self) -> Any:
        found = self._cursor.fetchone()
        self._rest()
        return found

    def scalar(self) -> Any:
        found = self.first()
        return None if found is None else found[0]

    def scalar_one(self) -> Any:
        found = self.first()
        if found is None:
            raise sa.exc.NoResultFound
        return found[0]

    def scalars(self) -> list[Any]:
        return [row[0] for row in self._cursor.fetchall()]

    def _rest(self) -> None:
        self._cursor.fetchall()
