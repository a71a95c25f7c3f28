"""DescribeHistory: the deployment log of an environment, or of all. It needs no journal, so it outlives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.aws.errors import AwsError
from beanpole.control.context import the_environment
from beanpole.operations import account as accounts
from beanpole.operations.blame import Blame
from beanpole.services.elasticbeanstalk.shapes import moment
from beanpole.store import environments, operations

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from beanpole.operations.account import Change
    from beanpole.store.operations import Operation


def describe(db: sa.Connection, params: dict[str, Any]) -> dict[str, Any]:
    """Newest first. Raises the API's errors for an environment or a number that there is not.

    A name also finds the newest one of that name that is terminated: whoever looks for what happened has no id.
    """
    if (number := params.get("Number")) is not None:
        one = operations.find(db, number)
        if one is None:
            raise AwsError("InvalidParameterValue", f"The history has no number {number}.")
        return {"Entries": [_entry(db, one)]}
    of = _environment(db, params) if params.keys() & {"EnvironmentName", "EnvironmentId"} else None
    found = operations.listed(db, environment_id=of, limit=params.get("MaxRecords", 20))
    return {"Entries": [_entry(db, each) for each in found]}


def _environment(db: sa.Connection, params: dict[str, Any]) -> str:
    name, id_ = params.get("EnvironmentName"), params.get("EnvironmentId")
    if id_ is not None:
        known = environments.find(db, id_)
    else:
        known = next(iter(environments.listed(db, names=[name or ""], deleted_since=0)), None)
    return known.id if known is not None else the_environment(db, name=name, id_=id_).id


def _entry(db: sa.Connection, of: Operation) -> dict[str, Any]:
    environment = environments.find(db, of.environment_id)
    account = accounts.decode(of.account)
    blame = msgspec.json.decode(of.error, type=Blame) if of.error else None
    counted = account.served is not None
    return {
        "Number": of.id,
        "EnvironmentName": environment.name if environment else None,
        "Kind": of.kind,
        "Origin": of.origin,
        "Actor": of.actor,
        "RequestId": of.request_id,
        "Outcome": of.outcome,
        "Policy": account.policy or None,
        "Release": of.release,
        "PreviousRelease": of.previous,
        "VersionLabel": _label(db, of.environment_id, of.release),
        "PreviousVersionLabel": _label(db, of.environment_id, of.previous),
        "CreatedAt": moment(of.created_at),
        "FinishedAt": moment(of.finished_at) if of.finished_at else None,
        "Requests": {"Served": account.served, "Failed": account.failed} if counted else None,
        "Changes": _changes(account.changes),
        "Dependencies": _changes(account.dependencies),
        "Behind": [{"InstanceId": each.instance, "Reason": each.reason} for each in account.behind],
        "Cause": blame.line() if blame is not None else None,
        "LastLines": list(blame.last_lines) if blame is not None else [],
    }


def _label(db: sa.Connection, environment_id: str, number: int | None) -> str | None:
    release = environments.find_release(db, environment_id, number)
    return release.version_label if release is not None else None


def _changes(changes: Iterable[Change]) -> list[dict[str, str]]:
    return [{"What": each.what, "From": each.old, "To": each.new} for each in changes]
