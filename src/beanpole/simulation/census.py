"""What the operations of a simulation were, and how all stands in the end."""

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


def end_of(world: World) -> list[str]:
    """Environments, operations and instances, without times. New instances have one name: which of them got which
    number is a matter of when they were made."""
    ask = world.store.ask
    releases: dict[str, str] = {}
    for digest, number, label in ask(
        "SELECT digest, number, version_label FROM release ORDER BY environment_id, number"
    ):
        releases.setdefault(digest, f"release {number} ({label})")
    found = [
        f"{name} ({prefix}): {status}, {label}, {desired} instances"
        for name, prefix, status, label, desired in ask(
            "SELECT name, cname_prefix, status, version_label, desired FROM environment ORDER BY id"
        )
    ]
    found += [
        f"{kind}: {phase}, {outcome}"
        for kind, phase, outcome in ask("SELECT kind, phase, outcome FROM operation WHERE origin = 'user' ORDER BY id")
    ]
    serving = {seat.endpoint.instance_id: seat.endpoint.digest for seat, _ in world.edge.serving()}
    machines = []
    for name, machine in world.machines.items():
        runs = ", ".join(sorted(releases[digest] for digest in machine.webs))
        serves, starts = (releases.get(digest or "", "nothing") for digest in (serving.get(name), machine.boot))
        known = "a new instance" if name.startswith("i-new") else name
        machines.append(f"{known} serves {serves}, starts {starts} with the machine, runs {runs}")
    return found + sorted(machines)
