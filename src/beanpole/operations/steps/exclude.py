"""Exclude: instances that cannot be reached get no new requests, unless nobody else could take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.operations.work import Work


async def exclude(work: Work) -> dict[str, Any]:
    """Only the database and the edge change: what happens on the instance is unknown, and it is asked nothing."""
    out = leave_rotation_of(work)
    await work.parts.balancers.apply()
    stands = "is out of rotation" if out else "goes on getting requests, because no other instance serves,"
    work.say(
        f"[Instance: {work.instance}] It cannot be reached and {stands} until it can be brought into line.", "WARN"
    )
    return {"excluded": out}


def leave_rotation_of(work: Work, *, alone: bool = False) -> bool:
    """No new requests to the instance. Not `alone`: False, and it stays in rotation, when no other instance serves.

    A server that SSH does not reach may serve well: without anybody else it would be us who makes the outage. Then it
    gets them for the release of this phase alone, if that one is among several: the others are not wanted.
    """
    with work.writing() as db:
        everyone = instances.endpoints(db, work.environment.id)
        others = any(each.state == "serving" and each.instance_id != work.instance for each in everyone)
        if not alone and not others:
            mine = {each.digest for each in everyone if each.state == "serving" and each.instance_id == work.instance}
            if work.brought is not None and work.brought.digest in mine:
                instances.drain(db, work.now(), work.instance, keep=work.brought.digest)
            return False
        instances.drain(db, work.now(), work.instance, keep=None)
        instances.update(db, work.instance, release=None)
    return True
