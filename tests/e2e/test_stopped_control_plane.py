"""SIGSTOP of a control plane in the middle of a deployment, for longer than its lease lasts, and SIGCONT.

As a suspended machine does it, or one that has no memory left. Alone it goes on where it stood; where another one took
over meanwhile, it is a zombie that must neither write nor command agents. One home holds one control plane, so the
other one of these tests comes in past the lock, as another replica would on a shared database.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import up
from beanpole_site import Site, app, wait_for
from fates import ENVIRONMENT, policy
from held import held
from rig import LocalRig
from store_view import StoreView
from stories import UPDATED, lost

from beanpole.home import Home
from beanpole.operations.engine import Engine
from beanpole.operations.lease import TTL

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]

STOPPED = 30.0
"""Seconds; twice as long as a lease lasts."""

LOAD: dict[str, Any] = {"path": "/version", "idle": 5, "rate": 100.0}


def run_beside(root: str, environment: dict[str, str], words: tuple[Any, ...], told: Connection) -> None:
    """A control plane on a home that has one, with an owner's name of its own: another replica has another one."""
    begun = Engine.__init__

    def begin(engine: Engine, parts: Any, owner: str, *more: Any) -> None:
        begun(engine, parts, f"{owner}/second", *more)

    Home.lock = Home.unlock = lambda _: None  # type: ignore[method-assign, assignment]
    Engine.__init__ = begin  # type: ignore[method-assign]
    up.run_below(root, environment, words, told)


@pytest.fixture
def rig(site: Site) -> LocalRig:
    rig = LocalRig(site, 2)
    rig.create(held("v1", rig.holds), (*ENVIRONMENT, *policy("Rolling")))
    return rig


@contextmanager
def stopped(site: Site, store: Path) -> Iterator[None]:
    """Not in the middle of a transaction: a writer of SQLite that stands still keeps all others from writing."""
    assert site.process is not None
    pid = site.process.pid
    assert pid is not None
    while True:
        os.kill(pid, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(store, timeout=0.5, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE").close()
                db.rollback()
            break
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def once(site: Site, store: StoreView, request: str) -> None:
    """Nothing was told twice, and the deployment is told to its end."""
    told = store.said(request)
    assert told[-1] == UPDATED, told
    assert [words for words, times in Counter(told).items() if times > 1] == []
    assert site.events(RequestId=request) == told


def test_one_that_stands_still_for_half_a_minute_goes_on_where_it_stood(rig: LocalRig) -> None:
    site, store = rig.site, StoreView(rig.site.home.database)
    rig.hold()
    with site.load(**LOAD) as run:
        request = site.begin("v2", held("v2", rig.holds))
        wait_for("the second batch", rig.held, 60)
        with stopped(site, site.home.database):
            time.sleep(STOPPED / 2)
            rig.let_go()  # what the agent does, it does meanwhile
            time.sleep(STOPPED / 2)
            assert f"forward/activate-2/{store.instances()[1]}" not in store.journal(request)
        assert site.ended(request_id=request)["Outcome"] == "succeeded"
    assert run.report["failed"] == 0, lost(run.report)
    assert set(rig.answers().values()) == {"v2"}
    once(site, store, request)
    assert site.deploy("v3", app("probe", "v3"))["Outcome"] == "succeeded"


def test_one_that_was_taken_over_from_writes_nothing_and_commands_nobody(rig: LocalRig) -> None:
    """It stands where a command to an agent comes next, without a write before: between the two jobs of Finish.

    When it goes on, the fleet is another deployment ahead: what it commands then would be of the past.
    """
    site, store = rig.site, StoreView(rig.site.home.database)
    finish = Path(rig.holds, "finish")
    finish.touch()
    request = site.begin("v2", held("v2", rig.holds))
    wait_for("the end of a worker", finish.with_suffix(".reached").exists, 60)
    second = Site(root=site.root, port=site.port, program=run_beside)
    with site.load(**LOAD) as run:
        with stopped(site, site.home.database):
            second.start()
            try:
                epoch = wait_for("another holder", lambda: _holder(store, request), TTL + 30)
                finish.unlink()
                assert second.ended(request_id=request)["Outcome"] == "succeeded"
                assert second.deploy("v3", held("v3", rig.holds))["Outcome"] == "succeeded"
                before = _all_that_is_written(store)
                jobs = _jobs(site)
            finally:
                second.kill()
        wait_for("the end of the zombie's work", lambda: "another process holds the operation now" in site.log())
        time.sleep(3.0)  # three heartbeats
        assert _all_that_is_written(store) == before
        assert _jobs(site) == jobs
    assert run.report["failed"] == 0, lost(run.report)
    assert epoch.endswith("/second")
    once(site, store, request)
    assert set(rig.answers().values()) == {"v3"}
    found = rig.found()
    assert sorted(found.boots) == sorted(found.web) == sorted((each, store.digest()) for each in store.instances())
    assert site.deploy("v4", held("v4", rig.holds))["Outcome"] == "succeeded"
    assert set(rig.answers().values()) == {"v4"}


def _holder(store: StoreView, request: str) -> str:
    """Whose operation it is, when it is no longer the first one's."""
    owner = str(store.ask("SELECT owner FROM operation WHERE request_id = ?", request)[0][0])
    return owner if owner.endswith("/second") else ""


def _all_that_is_written(store: StoreView) -> list[Any]:
    queries = (
        "SELECT id, operation_id, key, epoch FROM journal ORDER BY id",
        "SELECT id, phase, outcome, owner, epoch, attempts FROM operation ORDER BY id",
        "SELECT instance_id, digest, address, port, state FROM endpoint ORDER BY 1, 2",
        "SELECT id, release, state FROM instance ORDER BY id",
        "SELECT id, message FROM event WHERE message NOT LIKE 'Environment health has%' ORDER BY id",
    )
    return [store.ask(query) for query in queries]


def _jobs(site: Site) -> dict[str, int]:
    """How many jobs each agent knows of."""
    return {home.name: len(list((home / "jobs").iterdir())) for home in site.home.instances.glob("i-*")}
