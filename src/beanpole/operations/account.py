"""What is remembered of an operation when its journal is gone: what it changed, what users noticed, who is behind.

Written once, in the transaction that closes the operation; `beanpole history` is made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.operations.blame import Blame
from beanpole.operations.brought import brought
from beanpole.operations.difference import NONE, differences
from beanpole.operations.observed import members
from beanpole.platforms.changes import changes
from beanpole.policies import plan as plans
from beanpole.store import operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from beanpole.operations.work import Brought, Parts
    from beanpole.store.operations import Operation


class Change(msgspec.Struct, frozen=True):
    """Of one setting or one package; what is not there is `(none)`."""

    what: str
    old: str
    new: str


class Behind(msgspec.Struct, frozen=True):
    instance: str
    reason: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """`changes` and `dependencies` are those of the release that was brought, whether or not it stayed.

    Without `served` nobody counted. `behind`: instances that did not serve what they should when it was closed.
    """

    policy: str = ""
    changes: tuple[Change, ...] = ()
    dependencies: tuple[Change, ...] = ()
    served: int | None = None
    failed: int | None = None
    behind: tuple[Behind, ...] = ()


def encode(account: Account) -> str:
    return msgspec.json.encode(account).decode()


def decode(text: str | None) -> Account:
    """An empty one for operations that were closed from outside, or by an earlier Beanpole."""
    return msgspec.json.decode(text, type=Account) if text else Account()


def account_of(db: sa.Connection, parts: Parts, held: Operation, *, succeeded: bool) -> Account:
    """Of an operation that is about to be closed."""
    journal = operations.journal_of(db, held.id)
    served, failed = requests_between(journal) or (None, None)
    account = Account(policy=_policy(held.plan), served=served, failed=failed)
    if held.kind == "terminate":
        return account
    old = brought(db, parts.registry, held.environment_id, held.previous)
    new = brought(db, parts.registry, held.environment_id, held.release)
    behind = left_behind(journal)
    goal = new if succeeded else old
    if goal is not None and held.kind != "create":
        named = {each.instance for each in behind}
        reasons = dict.fromkeys(unreached(journal), "could not be reached")
        astray = (each.id for each in members(db, held.environment_id) if each.digest != goal.digest)
        other = f"does not serve release {goal.number}"
        behind += tuple(Behind(name, reasons.get(name, other)) for name in astray if name not in named)
    if old is None or new is None or held.release == held.previous:
        return msgspec.structs.replace(account, behind=behind)
    changed = tuple(Change(each.what, each.old, each.new) for each in differences(parts.registry, old, new))
    return msgspec.structs.replace(account, behind=behind, changes=changed, dependencies=_dependencies(parts, old, new))


def requests_between(journal: Mapping[str, Any]) -> tuple[int, int] | None:
    """Served and failed between the begin and the end of the operation, as the balancer counted; None: it did not."""
    begin, end = journal.get("requests/begin"), journal.get("requests/end")
    if not begin or not end:
        return None
    return end["requests"] - begin["requests"], end["failed"] - begin["failed"]


def left_behind(journal: Mapping[str, Any]) -> tuple[Behind, ...]:
    """Each instance once, with the first reason."""
    found: dict[str, Behind] = {}
    for key, result in journal.items():
        if isinstance(result, dict) and "behind" in result:
            blame = msgspec.convert(result["behind"], Blame)
            name = blame.instance or key.rpartition("/")[2]
            found.setdefault(name, Behind(name, f"{blame.stage}: {blame.cause}"))
    return tuple(found.values())


def unreached(journal: Mapping[str, Any]) -> frozenset[str]:
    """Instances of which nothing was asked. They serve what they served, or nothing."""
    silent = (key for key, result in journal.items() if isinstance(result, dict) and "excluded" in result)
    return frozenset(key.rpartition("/")[2] for key in silent)


def _dependencies(parts: Parts, old: Brought, new: Brought) -> tuple[Change, ...]:
    """None where a layer is not here (any more): a difference to the unknown would be no difference."""
    if old.content.layer == new.content.layer:
        return ()
    before, after = (parts.layers.packages(release.content.layer) for release in (old, new))
    if before is None or after is None:
        return ()
    return tuple(Change(each.name, each.before or NONE, each.after or NONE) for each in changes(before, after))


def _policy(plan: str) -> str:
    try:
        return plans.decode(plan).policy
    except plans.UnknownPlan:
        return ""
