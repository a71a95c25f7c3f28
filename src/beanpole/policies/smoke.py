"""Smoke tests in a plan: told where releases are started, and one step that asks the fleet through the balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.policies.plan import Activate, AnyStep, Drain, Plan, Retire, Smoke

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 4
"""Tests that are named in the step's line; the rest is counted."""


def with_smoke(plan: Plan, tests: Sequence[str]) -> Plan:
    """The plan with these tests (in words), if it starts anything.

    The balancer is asked after the last batch and before the old release is stopped or an instance retires: so long
    the way back is short.
    """
    started = [step for step in plan.steps if isinstance(step, Activate)]
    if not tests or not started:
        return plan
    count = "1 smoke test" if len(tests) == 1 else f"{len(tests)} smoke tests"
    steps = [
        msgspec.structs.replace(step, words=f"{step.words}, {count} before it gets requests")
        if isinstance(step, Activate)
        else step
        for step in plan.steps
    ]
    at = next((at for at, step in enumerate(steps) if isinstance(step, Drain | Retire)), len(steps))
    steps.insert(at, through_balancer(started[0].slots, tests))
    return msgspec.structs.replace(plan, steps=tuple(steps))


def through_balancer(slots: tuple[str, ...], tests: Sequence[str]) -> AnyStep:
    """One slot is enough: it is the balancer that is asked."""
    more = f" and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
    words = f"Smoke tests through the balancer: {', '.join(tests[:SHOWN])}{more}"
    return Smoke(key="smoke", slots=slots[:1], words=words)
