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


def leave_rotation_of(work: Work, *, least: int = 1, keep: str | None = None) -> bool:
    """No new requests to the instance. False, and it stays in rotation, when fewer than `least` other ones serve.

    A server that SSH does not reach may serve well: without anybody else it would be us who makes the outage. Then it
    gets them for the release `keep` alone, the one of this phase where none is given, if that one is among several: the
    others are not wanted.
    """
    keep = keep if keep is not None or work.brought is None else work.brought.digest
    with work.writing() as db:
        serving = [each for each in instances.endpoints(db, work.environment.id) if each.state == "serving"]
        if len({each.instance_id for each in serving} - {work.instance}) < least:
            if keep in {each.digest for each in serving if each.instance_id == work.instance}:
                instances.drain(db, work.now(), work.instance, keep=keep)
            return False
        instances.drain(db, work.now(), work.instance, keep=None)
        instances.update(db, work.instance, release=None)
    return True
