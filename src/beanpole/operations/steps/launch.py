"""Launch: make an instance for a slot."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from beanpole.store import instances
from beanpole.store.instances import Instance
from beanpole.store.operations import journal_of, record

if TYPE_CHECKING:
    from beanpole.operations.work import Work


async def launch(work: Work) -> dict[str, Any]:
    instance_id = _bind(work)
    work.progress(f"starting {instance_id}")
    await work.parts.fleet.launch(instance_id)
    with work.writing() as db:
        instances.update(db, instance_id, state="running")
    # The environment's address is known from now on, even if all that it says is that nothing serves yet.
    await work.parts.edge.apply()
    work.say(f"Added instance [{instance_id}] to your environment.")
    return {"instance": instance_id}


def _bind(work: Work) -> str:
    """Choose the id and write it down before anything is made, so that a crash leaves nothing that nobody knows of."""
    key = f"{work.phase}/{work.step.key}/{work.slot}/bind"
    with work.writing() as db:
        bound = journal_of(db, work.operation.id).get(key)
        if bound is not None:
            return str(bound["instance"])
        taken = {other.address for other in instances.listed(db)}
        instance_id = "i-" + secrets.token_hex(9)[:17]
        address = work.parts.fleet.free_address(instance_id, taken)
        new = Instance(instance_id, work.environment.id, "launching", address, None, work.now())
        instances.add(db, new)
        record(db, work.operation, work.now(), key, {"instance": instance_id})
    return instance_id
