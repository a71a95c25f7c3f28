"""Preflight without an operation: what would be in the way of a plan now. Starts nothing, changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.fleet.agent_client import AgentError
from beanpole.operations.blame import by_cause
from beanpole.operations.steps.preflight import short_of_disk, short_of_memory
from beanpole.platforms.procfile import WEB
from beanpole.policies.plan import Plan, Preflight, Retire

if TYPE_CHECKING:
    from beanpole.fleet.fleet import Fleet

LIMIT = 10.0
"""Seconds for an instance to say how it is."""


async def findings(fleet: Fleet, plan: Plan, bundle: int, *, stop_first: bool, may_pause: bool) -> list[str]:
    """A sentence for each cause, with the instances that have it. `bundle`: the release's size in bytes.

    `stop_first`: both releases never run at once. `may_pause`: an instance may be out of rotation for a while.
    """
    slots = [slot for step in plan.steps if isinstance(step, Preflight) for slot in step.slots]
    present = [slot for slot in slots if not slot.startswith("new-")]
    looks = (_cause(fleet, each, bundle, len(present), stop_first, may_pause) for each in present)
    causes = await asyncio.gather(*looks)
    found = by_cause((name, cause) for name, cause in zip(present, causes, strict=True) if cause)
    leaving = next((step.slots[0] for step in plan.steps if isinstance(step, Retire)), None)
    if leaving is not None and (more := len(slots) - len(present)):
        # On servers each new one is on another, most of them beside one that leaves.
        narrow = await _cause(fleet, leaving, bundle, more, stop_first=False, may_pause=False)
        found += [f"{more} new, as {leaving}: {narrow}"] if narrow else []
    return found


async def _cause(fleet: Fleet, instance: str, bundle: int, instances: int, stop_first: bool, may_pause: bool) -> str:
    """What is in the way there; '' where nothing is."""
    try:
        async with asyncio.timeout(LIMIT):
            shared = fleet.place(instance).shared_machine
            client = await fleet.running(instance)
            if client is None:
                # On a server nobody but systemd starts agents: one that is silent cannot be told from one that is gone.
                down = "does not run; a deployment starts it first" if shared else "does not answer"
                return f"the agent of the instance {down}"
            state = await client.state()
    except (AgentError, TimeoutError) as silence:
        return f"the agent of the instance does not answer: {silence or 'no answer in time'}"
    facts, together = _facts(state), instances if shared else 1
    full = short_of_disk(facts, bundle, together)
    if full is not None:
        return full
    narrow = None if stop_first else short_of_memory(facts, together)
    if narrow is not None and may_pause and not shared:
        return f"Stop-first: {narrow}"
    return narrow or ""


def _facts(state: dict[str, Any]) -> dict[str, Any]:
    """As the job `preflight` says it."""
    held = [each["rss"] or 0 for each in state["processes"] if each["name"] == WEB and each["pid"]]
    return {**state["instance"], "rss": max(held, default=0)}
