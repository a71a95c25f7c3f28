"""Where the time of an operation went, as the bench reads it from the journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster import ON_POSTGRESQL
from engine_site import EngineSite

from beanpole.store.schema import journal, operation
from breakdown import Breakdown, breakdown

pytestmark = pytest.mark.skipif(ON_POSTGRESQL, reason="the bench reads the file of SQLite")


def told(folder: Path, *rows: tuple[str, int, str]) -> Breakdown:
    """Of an operation that took from 1 to 9 s, with these entries: key, ms, result."""
    site = EngineSite.at(folder)
    number = site.submit()
    with site.database.write() as db:
        db.execute(operation.update().values(created_at=1000, finished_at=9000).where(operation.c.id == number))
        for key, at, result in rows:
            db.execute(journal.insert().values(operation_id=number, key=key, epoch=1, at=at, result=result))
    return breakdown(folder / "beanpole.db", number)


def test_a_step_takes_until_its_last_slot_has_ended(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        ("requests/begin", 1100, "{}"),
        ("forward/gate-1/begin", 2000, "{}"),
        ("forward/gate-1/i-1", 5000, '{"seconds": 2.5}'),
        ("forward/gate-1/i-2", 4000, '{"seconds": 1.5}'),
        ("forward/drain/begin", 5500, "{}"),
        ("forward/drain/i-1", 7500, "{}"),
    )
    assert [(each.step, each.seconds, each.own) for each in found.parts] == [("gate-1", 3, 2.5), ("drain", 2, None)]
    assert (found.seconds, found.between, found.of("drain"), found.waited("gate")) == (8, 3, 2, 2.5)


def test_a_step_that_failed_takes_until_the_return_begins(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        ("forward/activate-1/begin", 2000, "{}"),
        ("return/activate-1/begin", 6000, "{}"),
        ("return/activate-1/i-1", 7000, "{}"),
    )
    assert [(each.step, each.seconds) for each in found.parts] == [("activate-1", 4), ("return/activate-1", 1)]


def test_without_steps_all_of_it_is_between_them(tmp_path: Path) -> None:
    found = told(tmp_path, ("requests/begin", 1100, "{}"))
    assert (found.parts, found.between) == ([], pytest.approx(8))
