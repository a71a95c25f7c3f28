"""Operations and plans as the structures of our own service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.operations.account import requests_between
from beanpole.operations.blame import Blame
from beanpole.policies import plan as plans
from beanpole.services.elasticbeanstalk.shapes import moment
from beanpole.store import environments, operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from beanpole.operations.board import Board, Progress
    from beanpole.policies.plan import AnyStep, Plan
    from beanpole.store.operations import Operation


def plan(made: Plan) -> dict[str, Any]:
    return {
        "Policy": made.policy,
        "Downtime": made.downtime,
        "Notes": list(made.notes),
        "Steps": [
            {"Key": step.key, "Kind": type(step).__name__, "Slots": list(step.slots), "Words": step.words}
            for step in made.steps
        ],
    }


def operation(db: sa.Connection, board: Board, found: Operation) -> dict[str, Any]:
    journal = operations.journal_of(db, found.id)
    environment = environments.find(db, found.environment_id)
    live = board.of(found.id)
    forward = _readable(found.plan)
    back = _readable(found.return_plan) if found.return_plan else None
    error = _error(found.error)
    blamed = error["Instance"] if error is not None else ""
    turned = found.phase != "forward" and error is not None
    steps = _steps(forward, _Way("forward", journal, {} if turned else live, blamed if turned else None))
    if back is not None:
        steps = [step for step in steps if step["State"] != "waiting"]
        over = found.phase == "done"
        steps += _steps(back, _Way("return", journal, live if found.phase == "return" else {}, "" if over else None))
    return {
        "OperationId": str(found.id),
        "EnvironmentName": environment.name if environment else None,
        "Kind": found.kind,
        "Origin": found.origin,
        "Actor": found.actor,
        "RequestId": found.request_id,
        "Phase": found.phase,
        "Outcome": found.outcome,
        "Release": found.release,
        "PreviousRelease": found.previous,
        "CreatedAt": moment(found.created_at),
        "FinishedAt": moment(found.finished_at) if found.finished_at else None,
        "Error": error,
        "Steps": steps,
        "Requests": _requests(journal),
        "Notes": list(forward.notes) if forward else [],
    }


def _readable(text: str) -> Plan | None:
    try:
        return plans.decode(text)
    except plans.UnknownPlan:
        return None


@dataclass(frozen=True)
class _Way:
    """One phase of an operation, as its steps are described."""

    phase: str
    journal: Mapping[str, Any]
    live: Mapping[tuple[str, str], Progress]
    blamed: str | None
    """None while it goes on. Once it is over: the instance at which it ended, '' where that was no single one's doing,
    such as an abort."""


def _steps(made: Plan | None, way: _Way) -> list[dict[str, Any]]:
    return [] if made is None else [_step(step, way) for step in made.steps]


def _step(step: AnyStep, way: _Way) -> dict[str, Any]:
    instances = [_slot(step, slot, way) for slot in step.slots]
    begun = f"{way.phase}/{step.key}/begin" in way.journal
    if begun and way.blamed is not None:
        instances = _ended(instances, way.blamed)
    states = {instance["State"] for instance in instances}
    if "failed" in states:
        state = "failed"
    elif states <= {"done"}:
        state = "done"
    else:
        state = "running" if begun else "waiting"
    return {
        "Key": f"{way.phase}/{step.key}",
        "Kind": type(step).__name__,
        "Words": step.words,
        "State": state,
        "Instances": instances,
    }


def _ended(instances: list[dict[str, Any]], blamed: str) -> list[dict[str, Any]]:
    """Of a step that was begun and is not finished any more: the blamed instance failed, or all that were at work."""
    cut = [each for each in instances if each["State"] not in ("done", "failed")]
    failed = [each for each in cut if each["InstanceId"] == blamed] or cut
    return [each | {"State": "failed"} if each in failed else each for each in instances]


def _slot(step: AnyStep, slot: str, way: _Way) -> dict[str, Any]:
    bound = next((found["instance"] for key, found in way.journal.items() if key.endswith(f"/{slot}/bind")), slot)
    result = way.journal.get(f"{way.phase}/{step.key}/{slot}")
    if result is not None:
        state, words, done, total = ("failed" if "behind" in result else "done"), "", 0, 0
    elif (now := way.live.get((step.key, slot))) is not None:
        state, words, done, total = now.state, now.words, now.done, now.total
    else:
        state, words, done, total = "waiting", "", 0, 0
    return {"InstanceId": bound, "State": state, "Words": words, "Done": done, "Total": total}


def _error(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    blame = msgspec.json.decode(text, type=Blame)
    return {
        "Instance": blame.instance,
        "Stage": blame.stage,
        "Command": blame.command,
        "ExitStatus": blame.exit_status,
        "LastLines": list(blame.last_lines),
        "Cause": blame.cause,
        "Remedy": blame.remedy,
    }


def _requests(journal: Mapping[str, Any]) -> dict[str, int] | None:
    """Counted by the balancer between the begin and the end of the operation."""
    counted = requests_between(journal)
    return None if counted is None else {"Served": counted[0], "Failed": counted[1]}
