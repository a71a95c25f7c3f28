"""Swap: the names of two environments change places, for every client within a moment and without a failed request.

What decides is one transaction, and each edge takes both names' new ways in one file. Proxies of servers are told
before that either name may come: an edge may be a moment ahead of them, or behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.fleet.proxy import TROUBLE
from beanpole.policies.plan import Swap
from beanpole.store import environments, hosts
from beanpole.store.operations import journal_of, record

if TYPE_CHECKING:
    from beanpole.operations.work import Work


async def swap(work: Work) -> dict[str, Any]:
    """On the way back the names change places once more, if they had; a balancer that is in trouble hears it later."""
    balancers = work.parts.balancers
    if work.phase == "forward":
        await balancers.apply_everywhere()
    names = await asyncio.to_thread(_exchange, work)
    try:
        await balancers.apply_everywhere()
    except TROUBLE as problem:
        if work.phase == "forward":
            raise
        work.say(f"{str(problem).rstrip('.')}. It is told where the names lead as soon as it can be.", "WARN")
    if names:
        work.say(f"'{balancers.cname(names['mine'])}' now points to '{work.environment.name}'.")
    return names


def _exchange(work: Work) -> dict[str, Any]:
    """Once in each phase, whatever crashes: the names that both have then. {} where there is nothing to go back from.

    Nobody may terminate, by a plan of before, what a name leads to now.
    """
    step = work.step
    assert isinstance(step, Swap)  # noqa: S101 (of this handler's own kind)
    key = f"{step.key}/{work.slot}/names"
    with work.writing() as db:
        journal = journal_of(db, work.operation.id)
        if (done := journal.get(f"{work.phase}/{key}")) is not None:
            return dict(done)
        one, other = environments.find(db, work.environment.id), environments.find(db, step.other)
        there = one is not None and other is not None and other.status not in ("Terminating", "Terminated")
        if work.phase == "return" and (f"forward/{key}" not in journal or not there):
            return {}
        if not there or one is None or other is None:
            name = other.name if other is not None else step.other
            raise work.failed(f"environment {name} is being terminated", "Swap with another one.")
        environments.exchange_names(db, one, other)
        hosts.exchange_catch_alls(db, one.id, other.id)
        for each in (one, other):
            environments.update(db, each.id, terminate_at=None)
        names = {"mine": other.cname_prefix, "other": one.cname_prefix}
        record(db, work.operation, work.now(), f"{work.phase}/{key}", names)
    return names
