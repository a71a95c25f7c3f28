"""An operation of each kind whose work never ends: it is over at its deadline, and says so to whoever waits."""

from __future__ import annotations

import asyncio

import pytest
from engine_site import EngineSite, drain

from beanpole.store import environments
from beanpole.store.schema import operation

SENTENCES = {
    "create": "Failed to launch environment.",
    "update": "Failed to deploy application.",
    "rollback": "Failed to deploy application.",
    "rebuild": "Update environment operation is complete, but with errors. The environment could not be rebuilt.",
    "terminate": "Update environment operation is complete, but with errors. The environment could not be terminated.",
}
"""A swap's: see test_swap_step.py."""


@pytest.mark.parametrize("kind", SENTENCES)
def test_it_ends_and_the_environment_is_free_again(site: EngineSite, kind: str) -> None:
    number = site.submit(drain())
    status = {"create": "Launching", "terminate": "Terminating"}.get(kind, "Updating")
    with site.database.write() as db:
        db.execute(operation.update().values(kind=kind, deadline_at=site.database.now_ms() + 200))
        environments.update(db, "e-1", status=status)

    async def never() -> None:
        await asyncio.Event().wait()

    # What it returns with is not what hangs.
    site.fleet.on_job = lambda instance, _kind: never() if site.operation(number).phase == "forward" else None
    done = site.carry_out(number)
    assert (done.phase, done.outcome, site.environment().status) == ("done", "failed", "Ready")
    assert site.told()[-1] == ("ERROR", SENTENCES[kind])
