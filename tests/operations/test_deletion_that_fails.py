"""Deleting an application whose environment cannot be terminated: whoever waits is told, and may try again."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from beanpole.operations.closing import Closing
from beanpole.store import applications, environments, events, operations
from beanpole.store.applications import Application
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.events import Filter
from beanpole.store.operations import Draft, Operation


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.at(tmp_path / "beanpole.db")


def terminating(database: Database) -> Operation:
    """The termination, already claimed, that the deletion `R` of application `shop` asked for."""
    now = database.now_ms()
    names = {"name": "shop-dev", "application": "shop", "description": None, "cname_prefix": "shop-dev"}
    state = {"status": "Terminating", "health": "Ok", "causes": "[]", "desired": 1, "version_label": None}
    times = {"created_at": now, "updated_at": now}
    with database.write() as db:
        applications.add(db, Application("shop", None, now, now, deleting="R"))
        environments.add(
            db, Environment(id="e-1", tier="WebServer", platform="", release=None, **names, **state, **times)
        )
        none = {"release": None, "previous": None, "desired": 0}
        who = {"origin": "user", "actor": "ada", "request_id": "R-e-1"}
        operations.submit(
            db, now, Draft(environment_id="e-1", kind="terminate", plan="", deadline_at=now, **who, **none)
        )
    held = operations.claim(database, "test", 60_000)
    assert held is not None
    return held


def test_the_application_stays_and_its_deletion_is_told_to_have_failed(database: Database) -> None:
    held = terminating(database)
    asyncio.run(Closing(SimpleNamespace(database=database)).returned(held))  # type: ignore[arg-type]
    with database.read() as db:
        application = applications.find(db, "shop")
        environment = environments.find(db, "e-1")
        told = events.listed(db, Filter(request_id="R"))
    assert application is not None
    assert application.deleting is None, "it could never be deleted again"
    assert environment is not None
    assert environment.status == "Ready"
    # The EB CLI's wait ends at these words.
    assert told[0].message.startswith("Update environment operation is complete, but with errors.")
    assert "shop-dev" in told[0].message
