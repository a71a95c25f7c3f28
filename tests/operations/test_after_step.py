"""A composed group: an environment waits for those that it is linked to, whatever becomes of them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from engine_site import EngineSite, blame

from beanpole.policies.plan import ANSWER, After
from beanpole.store import environments, operations
from beanpole.store.operations import Operation
from beanpole.store.schema import operation

OVER = (
    "INFO",
    "Successfully finished tailing the events of this environment's part of the group, which did not succeed.",
)
"""The EB CLI waits for a group until each environment has told one of its successes; this one is true."""

WAITING = After(key="after", slots=("back-dev",), words="Wait for back-dev")


@pytest.fixture
def site(tmp_path: Path) -> EngineSite:
    """With a second environment of the same request, which nobody has begun to work on."""
    made = EngineSite.at(tmp_path)
    with made.database.write() as db:
        environments.add(
            db, msgspec.structs.replace(made.environment(), id="e-2", name="back-dev", cname_prefix="back")
        )
        for number in (1, 2):
            found = environments.find_release(db, "e-1", number)
            assert found is not None
            columns = msgspec.structs.asdict(found)
            for key in ("environment_id", "number"):
                del columns[key]
            environments.add_release(db, "e-2", **columns)
    return made


def ends(site: EngineSite, number: int, outcome: str) -> Callable[[], None]:
    def end() -> None:
        with site.database.write() as db:
            columns = {"phase": "done", "outcome": outcome}
            db.execute(operation.update().where(operation.c.id == number).values(**columns))

    return end


def carried_out(site: EngineSite, number: int, meanwhile: Callable[[], None]) -> Operation:
    """The engine carries it out, and something happens once it waits."""

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(20):
            key = "forward/after/begin"
            while key not in await asyncio.to_thread(journal, site, number):  # noqa: ASYNC110 - a row tells nobody
                await asyncio.sleep(0.01)
            assert not ended.is_set()
            meanwhile()
            await ended.wait()

    asyncio.run(run())
    return site.operation(number)


def journal(site: EngineSite, number: int) -> dict[str, object]:
    with site.database.read() as db:
        return operations.journal_of(db, number)


def other(site: EngineSite) -> int:
    """The other environment's operation, held by an engine that is not this one."""
    number = site.submit(environment="e-2")
    with site.database.write() as db:
        db.execute(operation.update().where(operation.c.id == number).values(expires_at=2**60))
    return number


def test_it_goes_on_when_the_other_has_its_version(site: EngineSite) -> None:
    theirs = other(site)
    done = carried_out(site, site.submit(WAITING), ends(site, theirs, "succeeded"))
    assert done.outcome == "succeeded"
    assert ("INFO", "Wait for back-dev.") in site.told()


@pytest.mark.parametrize("outcome", ["failed", "aborted"])
def test_it_fails_when_the_other_does(site: EngineSite, outcome: str) -> None:
    theirs = other(site)
    done = carried_out(site, site.submit(WAITING), ends(site, theirs, outcome))
    assert done.outcome == "failed"
    assert "back-dev, to which this one is linked, was not brought to its version" in blame(done)["cause"]
    assert site.environment().status == "Ready"
    assert site.told()[-2:] == [("ERROR", "Failed to deploy application."), OVER]


def test_an_abort_is_heard_while_it_waits(site: EngineSite) -> None:
    other(site)

    def abort() -> None:
        with site.database.write() as db:
            operations.ask_abort(db, "e-1")

    assert carried_out(site, site.submit(WAITING), abort).outcome == "aborted"
    reverted = "The environment was reverted to the previous configuration setting."
    assert site.told()[-2:] == [("INFO", reverted), OVER]


def test_the_answer_reaches_the_client_first(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("beanpole.operations.steps.after")  # its package has a function of that name
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    # Of this step alone: the engine's own loops go on with the real one.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread))
    number = site.submit(After(key="after", slots=(ANSWER,), words="Wait until the call is answered"))
    assert site.carry_out(number).outcome == "succeeded"
    assert slept
    assert 0 < slept[0] <= module.MOMENT
    assert not any("Wait until" in message for _, message in site.told())
