"""What random scenarios reach: every kind of fault, each of them met by somebody, every kind of plan and of step."""

from __future__ import annotations

from typing import get_args

import pytest

from beanpole.operations.steps import HANDLERS
from beanpole.policies import plan
from beanpole.simulation.many import Sum, several
from beanpole.simulation.scenario import CommandKind, FaultKind

SEEDS = 300

ELSEWHERE = {plan.After, plan.Smoke}
"""Kinds of steps that no scenario has: groups of environments are composed, and real requests are sent, in other
tests."""

PLANS = {
    *(f"update {policy}" for policy in ("AllAtOnce", "Rolling", "RollingWithAdditionalBatch", "Immutable")),
    *("update TrafficSplitting", "update RollingUpdate", "rollback Rollback", "restart Restart", "rebuild Rebuild"),
    *("swap Swap", "terminate Terminate", "align AllAtOnce"),
}

BACK = ("Activate", "Gate", "Finish", "Drain", "Shift", "Leave", "Terminate", "Exclude")
"""Kinds of steps of which ways back are made."""


@pytest.fixture(scope="module")
def whole() -> Sum:
    return several(range(SEEDS))


@pytest.mark.long
def test_every_kind_of_fault_is_met(whole: Sum) -> None:
    assert {kind for kind in get_args(FaultKind) if not whole.felt[kind]} == set()


@pytest.mark.long
def test_every_kind_of_plan_is_made(whole: Sum) -> None:
    assert PLANS - set(whole.plans) == set()


@pytest.mark.long
def test_every_kind_of_step_is_begun(whole: Sum) -> None:
    kinds = {f"forward {kind.__name__}" for kind in HANDLERS if kind not in ELSEWHERE}
    assert kinds - set(whole.steps) == set()
    assert {f"return {kind}" for kind in BACK} - set(whole.steps) == set()


@pytest.mark.long
def test_every_command_is_carried_out_and_some_are_refused(whole: Sum) -> None:
    """Aborts and promotions end what others began; a scale in the middle of a deployment is refused."""
    kinds = {words.partition(":")[0] for words in whole.outcomes}
    updates = {"deploy", "configure", "check", "replace", "scale", "both"}
    assert set(get_args(CommandKind)) - updates - {"abort", "promote"} <= kinds
    assert whole.refused["scale"]
    assert {
        kind: whole.outcomes[f"update: {kind}"] > 0 for kind in ("succeeded", "failed", "aborted")
    } == dict.fromkeys(("succeeded", "failed", "aborted"), True)
    assert any("promoted" in words for words in whole.canaries)


@pytest.mark.long
def test_nothing_is_broken_and_most_of_it_was_under_faults(whole: Sum) -> None:
    assert [(each.command, each.promises) for each in whole.broken] == []
    assert whole.struck * 3 > whole.deployments
