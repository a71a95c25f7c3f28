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
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import StaticPool

from beanpole.simulation.loop import Process
from beanpole.store.database import Database
from beanpole.store.schema import metadata

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


class Cut(NamedTuple):
    """Whoever writes that entry of the journal, counted from the first one ever, dies at that moment: `before` or
    `after` the transaction is there for others to see."""

    entry: int
    moment: str
    kills: Callable[[Process], None]


class Store:
    """One database file, so to speak. `changed` is called after every transaction that wrote, with the tables."""

    def __init__(self) -> None:
        self.sqlite = _idle.pop() if _idle else _connect()
        self.changed: Callable[[set[str]], None] = lambda _: None
        self.cut: Cut | None = None

    def entries(self) -> int:
        """Of all journals."""
        return int(self.sqlite.execute("SELECT count(*) FROM journal").fetchone()[0])

    def strike(self, moment: str, writer: Process) -> None:
        """The moment of a transaction: does the writer die?"""
        cut = self.cut
        if cut is not None and cut.moment == moment and self.entries() >= cut.entry:
            self.cut = None
            cut.kills(writer)
            refuse_dead(writer)

    def ask(self, query: str, *values: object) -> list[Any]:
        """Rows, for whoever watches; not for those who are watched."""
        return self.sqlite.execute(query, values).fetchall()

    def close(self) -> None:
        """Emptied, for the next one: to prepare all statements anew would take longer than most of a simulation."""
        self.sqlite.execute("PRAGMA foreign_keys=OFF")
        self.sqlite.execute("BEGIN")
        for table in metadata.tables:
            self.sqlite.execute(f'DELETE FROM "{table}"')  # noqa: S608 (names of our own)
        self.sqlite.execute("COMMIT")
        self.sqlite.execute("PRAGMA foreign_keys=ON")
        _idle.append(self.sqlite)


_idle: list[sqlite3.Connection] = []
"""Empty databases that nobody uses."""


def _connect() -> sqlite3.Connection:
    sqlite = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=1000)
    sqlite.deserialize(_image())
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "foreign_keys=ON"):
        sqlite.execute(f"PRAGMA {pragma}")
    return sqlite


class SimulatedDatabase(Database):
    """As one control plane has it. `fails` says before each transaction whether, and where, it fails: "" for not."""

    def __init__(self, store: Store, clock: Callable[[], float], process: Process) -> None:
        self.clock = clock
        self._store = store
        self._process = process
        self.fails: Callable[[], str] = lambda: ""
        self.failed: Callable[[], None] = lambda: None

    def close(self) -> None:
        pass

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        store, failure = self._store, self._failure()
        sqlite = store.sqlite
        connection = _Connection(sqlite)
        sqlite.execute("BEGIN IMMEDIATE")
        try:
            yield cast("sa.Connection", connection)
            if failure == "commit":
                raise _failed("COMMIT")
            store.strike("before", self._process)
        except BaseException:
            sqlite.execute("ROLLBACK")
            raise
        sqlite.execute("COMMIT")
        store.changed(connection.written)
        if failure == "answer":
            # It is written, and whoever wrote it does not hear of it.
            raise _failed("COMMIT")
        store.strike("after", self._process)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Without a transaction: nobody else does anything before it is over."""
        if self._failure() in ("commit", "answer"):
            raise _failed("COMMIT")
        yield cast("sa.Connection", _Connection(self._store.sqlite))

    def _failure(self) -> str:
        refuse_dead(self._process)
        failure = self.fails()
        if failure:
            self.failed()
        if failure == "begin":
            raise _failed("BEGIN")
        return failure


def refuse_dead(process: Process) -> None:
    """Nothing that a killed process does has any effect."""
    if process.dead:
        raise _Dead(process.name)


class _Dead(BaseException):
    """Ends whatever still moves in a process that was killed."""


def _failed(statement: str) -> sa.exc.OperationalError:
    return sa.exc.OperationalError(statement, None, sqlite3.OperationalError("disk I/O error (simulated)"))


class _Connection:
    """As much of an sa.Connection as the store's functions use."""

    dialect = DIALECT

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite
        self.written: set[str] = set()

    def execute(self, statement: Any, parameters: Any = None) -> _Result:
        several = isinstance(parameters, list)
        if statement.is_dml:
            self.written.add(statement.table.name)
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
