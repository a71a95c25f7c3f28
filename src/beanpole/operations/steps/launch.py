"""Launch: make an instance for a slot."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from beanpole.fleet.local import free_address
from beanpole.fleet.machine import memory_available
from beanpole.store import instances
from beanpole.store.instances import Instance
from beanpole.store.operations import journal_of, record

if TYPE_CHECKING:
    from beanpole.operations.work import Work


INSTANCE_MEMORY = 48 * 2**20
"""Bytes that an agent and the smallest application take. A guess on the safe side of a fleet that ends the machine."""


async def launch(work: Work) -> dict[str, Any]:
    available, needed = memory_available(), len(work.step.slots) * INSTANCE_MEMORY
    if available is not None and available < needed and not _bound(work):
        raise work.failed(
            f"{len(work.step.slots)} more instances need at least {needed / 2**20:.0f} MB of memory and this machine "
            f"has {available / 2**20:.0f} MB available",
            "Ask for fewer instances (aws:autoscaling:asg MinSize and MaxSize).",
        )
    instance_id = _bind(work)
    work.progress("starting its agent")
    await work.parts.fleet.launch(instance_id)
    with work.writing() as db:
        instances.update(db, instance_id, state="running")
    # The environment's address is known from now on, even if all that it says is that nothing serves yet.
    await work.parts.edge.apply(instance_id)
    work.say(f"Added instance [{instance_id}] to your environment.")
    return {"instance": instance_id}


def _bound(work: Work) -> bool:
    with work.parts.database.read() as db:
        return f"{work.phase}/{work.step.key}/{work.slot}/bind" in journal_of(db, work.operation.id)


def _bind(work: Work) -> str:
    """Choose the id and write it down before anything is made, so that a crash leaves nothing that nobody knows of."""
    key = f"{work.phase}/{work.step.key}/{work.slot}/bind"
    with work.writing() as db:
        bound = journal_of(db, work.operation.id).get(key)
        if bound is not None:
            return str(bound["instance"])
        taken = {other.address for other in instances.listed(db)}
        instance_id = "i-" + secrets.token_hex(9)[:17]
        address = free_address(instance_id, taken)
        new = Instance(instance_id, work.environment.id, "launching", address, None, work.now())
        instances.add(db, new)
        record(db, work.operation, work.now(), key, {"instance": instance_id})
    return instance_id
