"""Preflight without an operation: what would be in the way of a plan now. Starts nothing, changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.fleet.agent_client import AgentError
from beanpole.operations.steps.preflight import by_cause, lacking
from beanpole.platforms.procfile import WEB
from beanpole.policies.plan import Plan, Preflight

if TYPE_CHECKING:
    from beanpole.fleet.fleet import Fleet

LIMIT = 10.0
"""Seconds for an instance to say how it is."""


async def findings(fleet: Fleet, plan: Plan, bundle: int, *, stop_first: bool) -> list[str]:
    """A sentence for each cause, with the instances that have it. `bundle`: the release's size in bytes."""
    slots = [slot for step in plan.steps if isinstance(step, Preflight) for slot in step.slots]
    present = [slot for slot in slots if not slot.startswith("new-")]
    looks = (_cause(fleet, each, bundle, len(present), stop_first) for each in present)
    causes = await asyncio.gather(*looks)
    return by_cause((name, cause) for name, cause in zip(present, causes, strict=True) if cause)


async def _cause(fleet: Fleet, instance: str, bundle: int, instances: int, stop_first: bool) -> str:
    """What is in the way there; '' where nothing is."""
    try:
        async with asyncio.timeout(LIMIT):
            client = await fleet.running(instance)
            if client is None:
                return "the agent of the instance does not run; a deployment starts it first"
            state = await client.state()
    except (AgentError, TimeoutError) as silence:
        return f"the agent of the instance does not answer: {silence or 'no answer in time'}"
    together = instances if fleet.place(instance).shared_machine else 1
    found = lacking(_facts(state), bundle, together, stop_first=stop_first)
    return found[0] if found is not None else ""


def _facts(state: dict[str, Any]) -> dict[str, Any]:
    """As the job `preflight` says it."""
    held = [each["rss"] or 0 for each in state["processes"] if each["name"] == WEB and each["pid"]]
    return {**state["instance"], "rss": max(held, default=0)}
