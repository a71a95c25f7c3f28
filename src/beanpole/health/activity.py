"""How far an operation is on each instance, read from its plan and its journal. Pure.

An operation is at work on an instance from the begin of the first step that may touch what runs there until the last of
them is journaled. Fetching touches nothing, and draining concerns what the instance has left behind already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from beanpole.policies.plan import Drain, Fetch, Once, Preflight, Register, Shift, Smoke, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beanpole.health.rules.facts import WorkKind
    from beanpole.policies.plan import Plan

Stage = Literal["waiting", "busy", "done"]

_BESIDE = (Preflight, Fetch, Once, Smoke, Drain, Register, Shift, Watch)


class Place(msgspec.Struct, frozen=True):
    """Where an operation is with one instance. `fresh`: the operation launched it."""

    stage: Stage
    fresh: bool


def places(plan: Plan, phase: str, journal: Mapping[str, object], bound: Mapping[str, str]) -> dict[str, Place]:
    """By instance id; by slot for those that are not launched yet.

    `journal` has the keys of the operation's entries; `bound` the instances that slots stand for.
    """
    begun: dict[str, bool] = {}
    left: dict[str, bool] = {}
    for step in plan.steps:
        if isinstance(step, _BESIDE):
            continue
        began = f"{phase}/{step.key}/begin" in journal
        for slot in step.slots:
            begun[slot] = begun.get(slot, False) or began
            left[slot] = left.get(slot, False) or f"{phase}/{step.key}/{slot}" not in journal
    return {bound.get(slot, slot): Place(_stage(begun[slot], left[slot]), slot in bound) for slot in begun}


def work_kind(kind: str, *, new_version: bool) -> WorkKind:
    """What an operation is to health. `new_version`: it brings another version than the release before."""
    if kind == "create":
        return "initialization"
    if kind == "terminate":
        return "termination"
    if kind == "restart":
        return "restart"
    return "deployment" if new_version or kind == "rollback" else "configuration"


def _stage(begun: bool, left: bool) -> Stage:
    if not left:
        return "done"
    return "busy" if begun else "waiting"
