"""How PostgreSQL keeps the promises of `Database`.

Writers take one lock, one after the other, and read when they have it: under READ COMMITTED every statement sees what
was committed before it, and nobody else commits while the lock is held. (REPEATABLE READ would fix the snapshot in the
statement that waits for the lock, before its wait is over.) Readers have one snapshot of their own. No wait is endless.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping

DRIVER = "postgresql+psycopg"

LOCK = int.from_bytes(b"beanpole", "big")
"""The advisory lock of who writes. The next number is that of the control plane; see tenure.py."""

CONNECTIONS = 30
"""At once; five of them stay. Who waits for the lock has one, and must not keep readers out."""

CONNECT_TIMEOUT = 5
"""Seconds for a connection to be made."""

STATEMENT_TIMEOUT = 30
"""Seconds for a statement; also those that a transaction may stand still before the server ends it and its lock. A
control plane that is stopped in the middle of one keeps nobody waiting for longer."""

ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""Seconds, and tries: either side notices within half a minute that the other's machine is gone."""

_OF_THE_MOMENT = ("25006", "25P03")
"""A server that is to become, or was, the primary; a transaction that stood still for too long. The driver calls them
errors of ours."""


def options(patience: float) -> dict[str, Any]:
    """For sa.create_engine. `patience`: seconds that one waits for a connection when all are in use."""
    arguments = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "beanpole", **ALIVE}
    return {
        "connect_args": arguments | {"tcp_user_timeout": STATEMENT_TIMEOUT * 1000},
        "pool_pre_ping": True,
        "max_overflow": CONNECTIONS - 5,
        "pool_timeout": patience,
        "use_native_hstore": False,  # not asked for in every start
    }


def configure(engine: sa.Engine, patience: float) -> None:
    """Make the engine's connections and transactions ours. `patience`: seconds that one waits for a lock."""
    settings = {
        "lock_timeout": f"{patience:.0f}s",
        "statement_timeout": f"{STATEMENT_TIMEOUT}s",
        "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
        **{f"tcp_{name}": str(value) for name, value in ALIVE.items()},
    }
    sa.event.listen(engine, "connect", lambda connection, _record: _configure(connection, settings))
    sa.event.listen(engine, "begin", _begin)


def is_of_the_moment(problem: sa.exc.SQLAlchemyError) -> bool:
    """Whether it passes by itself although it is no OperationalError: a connection that broke, none that was free."""
    if isinstance(problem, sa.exc.TimeoutError):
        return True
    if not isinstance(problem, sa.exc.DBAPIError) or isinstance(problem, sa.exc.OperationalError):
        return False
    return problem.connection_invalidated or getattr(problem.orig, "sqlstate", None) in _OF_THE_MOMENT


def _configure(connection: Any, settings: Mapping[str, str]) -> None:
    connection.autocommit = True  # the driver begins no transaction of its own; _begin does
    connection.adapters.register_dumper(str, _texts())
    connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))


@cache
def _texts() -> type[Any]:
    """How texts are sent. What applications write to their logs may hold NUL, which PostgreSQL has no place for."""
    from psycopg.types.string import StrDumperUnknown

    class Texts(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    return Texts


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("beanpole_write")
    if write:
        # Each statement of the two has a snapshot of its own, and so has every later one.
        connection.exec_driver_sql(f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({LOCK})")
    elif write is not None:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")


class BadAddress(ValueError):
    """It is not the address of a PostgreSQL database; the message says why and what to do, and repeats no secret."""


def address(text: str) -> sa.URL:
    """The database that a user names, as `postgresql://USER@HOST:PORT/NAME`."""
    form = "Name one as postgresql://USER@HOST:PORT/NAME."
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # Not what was read of it: a password with a slash in it would be shown as part of a host or a port.
        raise BadAddress(f"the database's address cannot be read. {form}") from None
    if url.drivername not in ("postgresql", "postgres", DRIVER):
        raise BadAddress(f"a database of the kind {url.drivername} is not supported, PostgreSQL is. {form}")
    if secrets := sorted({"password", "sslpassword"} & set(url.query)):
        raise BadAddress(
            f"the database's address has its {secrets[0]} behind the question mark. Use a file of passwords "
            "(PGPASSFILE), a service file or PGPASSWORD."
        )
    return url.set(drivername=DRIVER)


def shown(url: sa.URL) -> str:
    """The address without its password, as it can be said, and be given again."""
    # Not URL.set, to which None means that nothing changes.
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return bare.render_as_string()
