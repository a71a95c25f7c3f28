"""Operations, their leases and their journals: the durable half of the engine in `operations/`.

An operation is carried out by whoever holds its lease. Each claim takes a new epoch from a counter of the whole store,
so a later claim, of this operation or of a later one, always has the higher number; agents refuse the lower. Every
write of the holder happens in `holding`, which is one transaction that first proves the lease.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from beanpole.store import pairs, rows
from beanpole.store.facts import count_up
from beanpole.store.schema import is_open, journal, operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.store.database import Database

Origin = Literal["user", "system"]
Phase = Literal["forward", "return", "done"]
Outcome = Literal["succeeded", "failed", "aborted"]


# Built once: to build a statement and to find its compiled form takes longer than to execute it, and the lease, the
# looks for work and the journal execute these all the time.


def _mine(query: Any) -> Any:
    """Only while the lease is held; see `_key`."""
    return query.where(operation.c.id == sa.bindparam("held"), operation.c.epoch == sa.bindparam("mine"), is_open)


_OLDEST = sa.select(sa.func.min(operation.c.id)).where(is_open).group_by(operation.c.environment_id)
_FREE = (
    sa.select(operation.c.id)
    .where(operation.c.id.in_(_OLDEST), operation.c.expires_at <= sa.bindparam("now"))
    .order_by(operation.c.id)
    .limit(1)
)
_TAKE = (
    operation.update()
    .where(operation.c.id == sa.bindparam("of"))
    .values(
        owner=sa.bindparam("by"),
        epoch=sa.bindparam("number"),
        expires_at=sa.bindparam("until"),
        attempts=operation.c.attempts + 1,
    )
)
_RENEW = _mine(operation.update()).values(expires_at=sa.bindparam("until")).returning(operation.c.abort)
_LET_GO = _mine(operation.update()).values(expires_at=0)
_IS_MINE = _mine(sa.select(operation.c.id))
_BY_ID = sa.select(operation).where(operation.c.id == sa.bindparam("of"))
_RECORD = journal.insert()
_JOURNAL = (
    sa.select(journal.c.key, journal.c.result)
    .where(journal.c.operation_id == sa.bindparam("of"))
    .order_by(journal.c.id)
)


_SUBMIT = operation.insert()
_MAKE_WAY = (
    operation.update()
    .where(
        operation.c.environment_id == sa.bindparam("of"),
        operation.c.origin == "system",
        is_open,
        operation.c.committed.is_(False),
    )
    .values(abort=True)
)
_EXPIRE = operation.update().where(operation.c.owner == sa.bindparam("by"), is_open).values(expires_at=0)
_TURN = _mine(operation.update()).values(
    phase="return",
    return_plan=sa.bindparam("new_return_plan"),
    outcome=sa.bindparam("new_outcome"),
    error=sa.bindparam("new_error"),
)
_OPEN_OF_USERS = sa.select(operation).where(operation.c.origin == "user", is_open)
_OPEN_OF_USERS_THERE = _OPEN_OF_USERS.where(operation.c.environment_id == sa.bindparam("of"))


@cache
def _finish(error: bool, succeeded: bool) -> sa.Update:
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in ("finished_at", "outcome", "account")}
    if error:
        new["error"] = sa.bindparam("new_error")
    query = _mine(operation.update()).values(phase="done", expires_at=0, **new)
    return query.where(operation.c.abort.is_(False)) if succeeded else query  # type: ignore[no-any-return]


@cache
def _listing(by: tuple[str, ...], open_only: bool) -> sa.Select[Any]:
    """Newest first, at most `most`. `by`: which of environment and request are given."""
    columns = {"environment": operation.c.environment_id, "request": operation.c.request_id}
    query = sa.select(operation).order_by(operation.c.id.desc()).limit(sa.bindparam("most", type_=sa.Integer))
    query = query.where(*(columns[name] == sa.bindparam(name) for name in by))
    return query.where(is_open) if open_only else query


class Operation(msgspec.Struct, frozen=True):
    id: int
    environment_id: str
    kind: str
    origin: Origin
    actor: str
    request_id: str
    release: int | None
    previous: int | None
    desired: int | None
    plan: str
    return_plan: str | None
    phase: Phase
    outcome: Outcome | None
    error: str | None
    abort: bool
    attempts: int
    owner: str | None
    epoch: int
    expires_at: int
    deadline_at: int
    created_at: int
    finished_at: int | None
    account: str | None = None
    committed: bool = False
    """Instances are being retired: the operation can only be completed, and an abort is too late."""
    promoted: bool = False
    """Somebody decided that the release is good: what is left of its watch is skipped."""

    @property
    def abortable(self) -> bool:
        """Whether it can still be told to turn back."""
        heard = self.abort or self.committed
        return self.phase == "forward" and self.kind not in ("terminate", pairs.KIND) and not heard


def _key(held: Operation) -> dict[str, int]:
    return {"held": held.id, "mine": held.epoch}


class Draft(msgspec.Struct, frozen=True):
    """What whoever submits an operation says of it."""

    environment_id: str
    kind: str
    origin: Origin
    actor: str
    request_id: str
    release: int | None
    previous: int | None
    desired: int | None
    plan: str
    deadline_at: int


class Busy(Exception):
    """The environment has an open operation of a user already."""


class LeaseLost(Exception):
    """Another process holds the operation now; whoever sees this stops at once and writes nothing more."""


def submit(db: sa.Connection, now: int, draft: Draft) -> int:
    """Add the operation and answer its id. Raises Busy.

    What the system itself does in the environment yields: its open operations are told to stop at their next step.
    """
    if draft.origin == "user":
        make_way(db, draft.environment_id)
    values = msgspec.structs.asdict(draft) | {
        "phase": "forward",
        "abort": False,
        "committed": False,
        "promoted": False,
        "attempts": 0,
        "epoch": 0,
        "expires_at": 0,
    }
    try:
        result = db.execute(_SUBMIT, {"created_at": now, **values})
    except IntegrityError as conflict:
        raise Busy(draft.environment_id) from conflict
    return int(result.inserted_primary_key[0])  # type: ignore[index]


def make_way(db: sa.Connection, environment_id: str) -> None:
    """What the system itself does in the environment ends at its next step, for the sake of a user."""
    db.execute(_MAKE_WAY, {"of": environment_id})


def claim(database: Database, owner: str, ttl_ms: int) -> Operation | None:
    """Take over the oldest open operation that nobody holds, one an environment; None when there is none."""
    now = database.now_ms()
    with database.read() as db:
        if db.execute(_FREE, {"now": now}).scalar() is None:
            return None
    with database.write() as db:
        found = db.execute(_FREE, {"now": now}).scalar()
        if found is None:
            return None
        taken = {"of": found, "by": owner, "number": count_up(db, "epoch"), "until": now + ttl_ms}
        db.execute(_TAKE, taken)
        return find(db, found)


def renew(database: Database, held: Operation, ttl_ms: int) -> bool:
    """Keep the lease; answers whether an abort was asked for. Raises LeaseLost."""
    with database.write() as db:
        abort = db.execute(_RENEW, {"until": database.now_ms() + ttl_ms, **_key(held)}).scalar()
    if abort is None:
        raise LeaseLost(f"operation {held.id}")
    return bool(abort)


def release_lease(database: Database, held: Operation) -> None:
    """Let the operation go, so that the next process need not wait for the lease to run out."""
    with database.write() as db:
        db.execute(_LET_GO, _key(held))


def expire_leases_of(database: Database, owner: str) -> None:
    """At start: the leases that an earlier process of the same name held are nobody's now."""
    with database.write() as db:
        db.execute(_EXPIRE, {"by": owner})


@contextmanager
def holding(database: Database, held: Operation) -> Iterator[sa.Connection]:
    """One transaction of the holder of the lease. Raises LeaseLost before anything is written."""
    with database.write() as db:
        if db.execute(_IS_MINE, _key(held)).scalar() is None:
            raise LeaseLost(f"operation {held.id}")
        yield db


def record(db: sa.Connection, held: Operation, now: int, key: str, result: Any) -> None:
    """Append to the journal, in a transaction of `holding`. A key is written once."""
    text = msgspec.json.encode(result).decode()
    db.execute(_RECORD, {"operation_id": held.id, "key": key, "epoch": held.epoch, "at": now, "result": text})


def journal_of(db: sa.Connection, operation_id: int) -> dict[str, Any]:
    """The journal: key → result, in the order in which it was written."""
    return {key: msgspec.json.decode(result) for key, result in db.execute(_JOURNAL, {"of": operation_id})}


def turn(db: sa.Connection, held: Operation, return_plan: str, outcome: Outcome, error: str | None) -> None:
    """From forward to return, in a transaction of `holding`: how it ended is decided here."""
    new = {"new_return_plan": return_plan, "new_outcome": outcome, "new_error": error}
    db.execute(_TURN, {**new, **_key(held)})


def finish(
    db: sa.Connection,
    held: Operation,
    now: int,
    outcome: Outcome,
    error: str | None = None,
    account: str | None = None,
) -> bool:
    """Close the operation, in a transaction of `holding`. `account`: what is remembered when its journal is gone.

    False, and nothing is written, when it would close as succeeded but an abort was asked for in the meantime: an abort
    that was accepted is never lost.
    """
    new = {"new_finished_at": now, "new_outcome": outcome, "new_account": account}
    if error is not None:
        new["new_error"] = error
    query = _finish(error is not None, outcome == "succeeded")
    return bool(db.execute(query, {**new, **_key(held)}).rowcount)


def ask_abort(db: sa.Connection, environment_id: str) -> bool:
    """Ask the environment's open user operation to stop. False when there is none, or it is committed."""
    query = operation.update().where(
        operation.c.environment_id == environment_id,
        operation.c.origin == "user",
        is_open,
        operation.c.committed.is_(False),
    )
    return bool(db.execute(query.values(abort=True)).rowcount)


def commit(db: sa.Connection, held: Operation) -> bool:
    """From now on the operation can only be completed, in a transaction of `holding`.

    False, and nothing is written, when an abort was asked for: of the two, whichever comes first excludes the other.
    """
    query = _mine(operation.update()).where(operation.c.abort.is_(False))
    return bool(db.execute(query.values(committed=True), _key(held)).rowcount)


def promote(db: sa.Connection, operation_id: int) -> bool:
    """Whether the operation is still on a way forward that can be aborted; what is left of its watch is skipped."""
    query = operation.update().where(
        operation.c.id == operation_id,
        operation.c.phase == "forward",
        operation.c.abort.is_(False),
        operation.c.committed.is_(False),
    )
    return bool(db.execute(query.values(promoted=True)).rowcount)


def find(db: sa.Connection, operation_id: int) -> Operation | None:
    return rows.first(db, _BY_ID, Operation, of=operation_id)


def listed(
    db: sa.Connection,
    *,
    environment_id: str | None = None,
    request_id: str | None = None,
    open_only: bool = False,
    limit: int = 20,
) -> list[Operation]:
    """Newest first."""
    given = {"environment": environment_id, "request": request_id}
    wanted = {name: value for name, value in given.items() if value is not None}
    return rows.every(db, _listing(tuple(wanted), open_only), Operation, most=limit, **wanted)


def supersede(db: sa.Connection, environment_id: str, now: int) -> None:
    """Close the environment's open operations where they stand: what follows removes all that they could leave.

    Their holder notices that it holds nothing any more and stops.
    """
    query = operation.update().where(operation.c.environment_id == environment_id, is_open)
    db.execute(query.values(phase="done", outcome="aborted", finished_at=now, expires_at=0, abort=True))


def open_of_users(db: sa.Connection, environment_id: str | None = None) -> list[Operation]:
    """The open operations that users asked for; at most one an environment."""
    if environment_id is None:
        return rows.every(db, _OPEN_OF_USERS, Operation)
    return rows.every(db, _OPEN_OF_USERS_THERE, Operation, of=environment_id)


def prune(database: Database, before: int, forget: int) -> None:
    """Forget journals and plans of operations that ended before `before` (milliseconds), and the operations themselves
    that ended before `forget`. Of those that only brought instances into line nothing is left with their journal.
    """
    with database.write() as db:
        old = sa.select(operation.c.id).where(operation.c.phase == "done", operation.c.finished_at < before)
        db.execute(journal.delete().where(journal.c.operation_id.in_(old)))
        db.execute(
            operation.update().where(operation.c.id.in_(old), operation.c.plan != "").values(plan="", return_plan=None)
        )
        gone = sa.or_(operation.c.finished_at < forget, operation.c.kind == "align")
        db.execute(operation.delete().where(operation.c.id.in_(old), gone))
