"""What the last operations of an environment say of its release: how long it is watched, and where to return."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from beanpole.control import rollback
from beanpole.operations.brought import brought
from beanpole.operations.release import Content, Process, encode
from beanpole.options import catalogue
from beanpole.reconcile.past import Past, past
from beanpole.store import environments
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.schema import journal, operation

MINUTE = 60_000
REGISTRY = catalogue.load()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sa.Connection]:
    """Releases 1, 2 and 3 (versions v1, v2 and v3) passed; 3 is the environment's."""
    database = Database.at(tmp_path / "beanpole.db")
    with database.write() as writing:
        state = ("WebServer", "p", "Ready", "Ok", "[]", 2)
        environments.add(writing, Environment("e-1", "shop", "a", None, "shop", *state, "v3", 3, 0, 0))
        for number in (1, 2, 3):
            release(writing, number)
        yield writing


def release(db: sa.Connection, number: int, *, like: int | None = None, passed: bool = True) -> None:
    of = like or number
    processes = (Process("web", f"serve {of}"),)
    content = Content(manifest="m", files=f"f{of}", python="3.11", processes=processes, layer="l", settings=())
    texts = {"digest": content.digest(), "content": encode(content), "settings": "[]"}
    times = {"created_at": 0, "passed_at": number * MINUTE if passed else None}
    environments.add_release(db, "e-1", version_label=f"v{of}", **texts, **times)


def operate(db: sa.Connection, kind: str, release: int, previous: int | None, outcome: str, **more: Any) -> int:
    """One operation that has ended; times in minutes."""
    began, ended = more.pop("began", 3), more.pop("ended", 4)
    values = {"origin": "user", "actor": "ada", "request_id": "R", "desired": None, "plan": "", "deadline_at": 0}
    values |= {"phase": "done", "abort": False, "attempts": 1, "epoch": 1, "expires_at": 0, "committed": False}
    values |= {"created_at": began * MINUTE, "finished_at": ended * MINUTE, "promoted": False}
    values |= {"kind": kind, "release": release, "previous": previous, "outcome": outcome, "environment_id": "e-1"}
    return int(db.execute(operation.insert().values(**(values | more))).inserted_primary_key[0])  # type: ignore[index]


def goal(db: sa.Connection, found: Past) -> int | None:
    """The release to which the system would return."""
    environment = environments.find(db, "e-1")
    current = brought(db, REGISTRY, "e-1", found.release.number)
    control: Any = type("Control", (), {"registry": REGISTRY})
    assert environment is not None
    assert current is not None
    return rollback.earlier(db, control, environment, current, found.bad(db))


def test_the_watch_stands_still_while_an_operation_is_at_work(db: sa.Connection) -> None:
    operate(db, "update", 4, 3, "failed", began=5, ended=25)
    assert past(db, "e-1", 3).served(27 * 60.0) == 4 * 60.0


def test_a_release_that_did_not_stay_good_has_passed_when_its_operation_ended(db: sa.Connection) -> None:
    environments.update_release(db, "e-1", 3, passed_at=None)
    operate(db, "update", 3, 2, "succeeded", ended=7)
    operate(db, "align", 3, 3, "succeeded", origin="system", ended=9)
    assert past(db, "e-1", 3).passed_at == 7 * 60.0


def test_a_release_that_did_not_come_up_is_not_returned_to_again(db: sa.Connection) -> None:
    assert goal(db, past(db, "e-1", 3)) == 2
    release(db, 4, like=2, passed=False)
    operate(db, "rollback", 4, 3, "failed", origin="system")
    assert goal(db, past(db, "e-1", 3)) == 1
    release(db, 5, like=1, passed=False)
    operate(db, "rollback", 5, 3, "failed", origin="system")
    assert goal(db, past(db, "e-1", 3)) is None
    # Whoever deploys begins anew: what did not come up then may do so now.
    operate(db, "update", 6, 3, "failed")
    assert goal(db, past(db, "e-1", 3)) == 2


def test_what_was_left_as_bad_is_not_returned_to_under_another_number(db: sa.Connection) -> None:
    release(db, 4, like=2)
    operate(db, "rollback", 4, 3, "succeeded", origin="system")
    environments.update_release(db, "e-1", 3, passed_at=None)
    found = past(db, "e-1", 4)
    assert not found.chosen
    assert goal(db, found) == 1


@pytest.mark.parametrize("kind", ["rollback", "restart"])
def test_what_a_person_chose_stays(db: sa.Connection, kind: str) -> None:
    release(db, 4, like=2)
    operate(db, kind, 4, 3, "succeeded")
    assert past(db, "e-1", 4).chosen


def test_only_an_answer_speaks_against_a_release_that_was_to_come_back(db: sa.Connection) -> None:
    number = operate(db, "update", 4, 3, "aborted")
    entries = {
        "forward/activate-1/i-1": '{"behind": {"stage": "start"}}',
        "return/activate-1/i-2": '{"behind": {"stage": "start"}, "unknown": false}',
        "return/activate-1/i-3": '{"behind": {"stage": "Activate"}, "unknown": true}',
        "return/gate-1/i-4": '{"behind": {"stage": "gate"}}',
        "return/gate-1/begin": "{}",
        "return/fetch/i-5": '{"behind": {"stage": "Fetch"}}',
    }
    for key, result in entries.items():
        db.execute(journal.insert().values(operation_id=number, key=key, epoch=1, at=0, result=result))
    assert past(db, "e-1", 3).refusing(db) == {"i-2", "i-4"}
    operate(db, "align", 3, 3, "succeeded", origin="system")
    assert past(db, "e-1", 3).refusing(db) == frozenset()
