"""The engine in bad weather: a database that does not answer, a return that never ends."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_site import FLEET, LIMIT, NEW, EngineSite, drain, job_failed

from beanpole.operations import engine, lease
from beanpole.policies.plan import Activate
from beanpole.store import instances
from beanpole.store.database import Database

NOT_DEPLOYED = ("ERROR", "Failed to deploy application.")


class Away(Database):
    """A database that answers no reader while it is `away`; `asked` is set when one noticed."""

    away = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = threading.Event()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        if self.away:
            self.asked.set()
            raise sa.exc.OperationalError("SELECT", {}, OSError("disk I/O error"))
        with super().read() as db:
            yield db


def test_a_database_that_does_not_answer_for_a_moment_ends_no_operation(tmp_path: Path) -> None:
    database = Away.at(tmp_path / "beanpole.db")
    assert isinstance(database, Away)
    site = EngineSite(database)
    for instance in FLEET:
        site.serve(instance, "digest-2")
    number = site.submit(drain())

    async def run() -> None:
        stopping, may_end = asyncio.Event(), asyncio.Event()

        async def stop() -> None:
            stopping.set()
            await may_end.wait()

        site.fleet.on_job = lambda instance, kind: stop()
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await stopping.wait()
            database.away = True
            assert await asyncio.to_thread(database.asked.wait, LIMIT)
            database.away = False
            may_end.set()
            await ended.wait()

    asyncio.run(run())
    done = site.operation(number)
    assert (done.phase, done.outcome, done.attempts) == ("done", "succeeded", 1)


def test_what_is_submitted_after_such_a_moment_is_carried_out(tmp_path: Path) -> None:
    database = Away.at(tmp_path / "beanpole.db")
    assert isinstance(database, Away)
    site = EngineSite(database)

    async def run() -> int:
        database.away = True
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            assert await asyncio.to_thread(database.asked.wait, LIMIT)
            database.away = False
            number = site.submit()
            await ended.wait()
        return number

    assert site.operation(asyncio.run(run())).outcome == "succeeded"


@pytest.mark.parametrize("proven", [True, False])
def test_on_the_way_back_what_serves_well_stays_where_too_few_others_do(site: EngineSite, proven: bool) -> None:
    """The old release comes up nowhere: as many as are needed go on with the other one, which passed there."""
    with site.database.write() as db:
        for instance in FLEET:
            instances.update(db, instance, release=2 if proven else 1)
    for instance in FLEET:
        site.serve(instance, NEW)
    number = site.submit()
    site.returning(number, Activate(key="activate-1", slots=FLEET, batch=1, words=""), attempts=0)

    def refuse(_instance: str, _kind: str) -> None:
        raise job_failed("web did not become ready", "Look.")

    site.fleet.on_job = refuse
    assert site.carry_out(number).outcome == "failed"
    states = sorted(state for digest, state, _ in site.endpoints().values() if digest == NEW)
    assert states == (["draining", "serving"] if proven else ["draining", "draining"])
    behind = [message for severity, message in site.told() if severity == "ERROR" and "did not become ready" in message]
    on = "It goes on with release 2, because too few others serve."
    assert sum(message.endswith(on) for message in behind) == int(proven)
    assert site.told()[-1] == NOT_DEPLOYED


class Full(Database):
    """A database into which nothing can be written as often as `refuses` says."""

    refuses = 0

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        if self.refuses:
            self.refuses -= 1
            raise sa.exc.OperationalError("INSERT", {}, OSError("database or disk is full"))
        with super().write() as db:
            yield db


@pytest.mark.parametrize("refuses", [1, 3])
def test_an_operation_that_could_not_be_written_down_is_taken_up_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: int
) -> None:
    """Nobody waits for the lease to run out, and what agents are doing goes on."""
    monkeypatch.setattr(engine, "TTL", 600.0)
    monkeypatch.setattr(lease, "RENEW", 600.0)  # so that the heartbeat is not the one that meets it
    database = Full.at(tmp_path / "beanpole.db")
    assert isinstance(database, Full)
    site = EngineSite(database)
    for instance in FLEET:
        site.serve(instance, "digest-2")
    number = site.submit(drain())
    seen: list[str] = []

    async def run() -> None:
        both = asyncio.Event()

        async def stop(instance: str) -> None:
            seen.append(instance)
            if len(seen) == 2:
                both.set()
            await both.wait()
            if len(seen) == 2 and instance == "i-1":
                database.refuses = refuses
            elif len(seen) == 2:
                await asyncio.Event().wait()  # as long as it is waited for

        site.fleet.on_job = lambda instance, kind: stop(instance)
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            while site.operation(number).phase != "done":
                await ended.wait()
                ended.clear()

    asyncio.run(run())
    done = site.operation(number)
    assert (done.outcome, done.attempts) == ("succeeded", 2)
    assert site.fleet.cancelled == []


@pytest.mark.parametrize(("attempts", "works"), [(49, True), (50, False)])
def test_a_return_is_begun_fifty_times_and_then_ends_where_it_stands(
    site: EngineSite, attempts: int, works: bool
) -> None:
    number = site.submit()
    site.returning(number, drain(), attempts=attempts)
    done = site.carry_out(number)
    assert (done.phase, done.outcome) == ("done", "failed")
    stopped = {instance for instance, kind, digest in site.fleet.jobs if (kind, digest) == ("stop", "digest-2")}
    assert stopped == (set(FLEET) if works else set())
    assert site.environment().status == "Ready"
    told = site.told()
    assert told[-2:] == [("INFO", "Every instance serves release 1 (version v1)."), NOT_DEPLOYED]
    ended = "Return failed: it was begun 50 times without an end and stops where it stands."
    assert any(severity == "ERROR" and words.startswith(ended) for severity, words in told) is not works
