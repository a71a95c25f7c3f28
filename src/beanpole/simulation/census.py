"""What the operations of a simulation were: which plans there were, and which of their steps were begun."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from beanpole.policies import plan as plans

if TYPE_CHECKING:
    from beanpole.simulation.world import World


class Census(NamedTuple):
    plans: Counter[str]
    """By kind and policy, as `update Rolling`."""
    steps: Counter[str]
    """By phase and kind, as `return Drain`."""


def take(world: World) -> Census:
    ask = world.store.ask
    found = Census(Counter(), Counter())
    for number, kind, forward, back in ask("SELECT id, kind, plan, return_plan FROM operation"):
        begun = {key for (key,) in ask("SELECT key FROM journal WHERE operation_id = ?", number)}
        for phase, text in (("forward", forward), ("return", back)):
            if not text:
                continue
            plan = plans.decode(text)
            if phase == "forward":
                found.plans[f"{kind} {plan.policy}"] += 1
            for step in plan.steps:
                if f"{phase}/{step.key}/begin" in begun:
                    found.steps[f"{phase} {type(step).__name__}"] += 1
    return found
