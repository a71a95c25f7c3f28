"""An operation in the structure that every view is drawn from: above all how its last picture looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from beanpole.operations import blame
from beanpole.operations.blame import Blame
from beanpole.operations.board import Board, Progress
from beanpole.policies import plan as plans
from beanpole.policies.plan import Activate, Drain, Fetch, Plan
from beanpole.services.beanpole import shapes
from beanpole.store import applications, environments, operations
from beanpole.store.applications import Application
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.operations import Draft, holding

SLOTS = ("i-1", "i-2", "i-3")
FORWARD = Plan(
    policy="Rolling",
    steps=(
        Fetch(key="fetch", slots=SLOTS, words="Bring it"),
        Activate(key="activate-1", slots=SLOTS, batch=1, words="Start it"),
        Drain(key="drain", slots=SLOTS, words="Stop the old one"),
    ),
)
BACK = Plan(policy="Rollback", steps=(Activate(key="activate-1", slots=("i-1",), batch=1, words="Go back"),))
ENVIRONMENT = Environment(
    id="e-1",
    name="shop-dev",
    application="shop",
    description=None,
    cname_prefix="shop-dev",
    tier="WebServer",
    platform="Python 3.11",
    status="Updating",
    health="Ok",
    causes="[]",
    desired=3,
    version_label=None,
    release=None,
    created_at=0,
    updated_at=0,
)
JOURNAL = [
    "forward/fetch/begin",
    *(f"forward/fetch/{slot}" for slot in SLOTS),
    "forward/activate-1/begin",
    "forward/activate-1/i-1",
]


class Story:
    """An operation whose activation has passed on i-1 and goes on on i-2 and i-3."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.board = Board()
        draft = Draft("e-1", "update", "user", "admin", "r-1", 2, 1, None, plans.encode(FORWARD), 10**15)
        with database.write() as db:
            applications.add(db, Application("shop", None, 0, 0))
            environments.add(db, ENVIRONMENT)
            operations.submit(db, database.now_ms(), draft)
        claimed = operations.claim(database, "test", 60_000)
        assert claimed is not None
        self._held = claimed
        self.write(*JOURNAL)
        for slot in ("i-2", "i-3"):
            self.board.put(claimed.id, "activate-1", slot, Progress("running", "starting"))

    def write(self, *keys: str) -> None:
        with holding(self._database, self._held) as db:
            for key in keys:
                operations.record(db, self._held, self._database.now_ms(), key, {})

    def turn(self, why: Blame, outcome: operations.Outcome) -> None:
        error = msgspec.json.encode(why).decode()
        with holding(self._database, self._held) as db:
            operations.turn(db, self._held, plans.encode(BACK), outcome, error)

    def finish(self, outcome: operations.Outcome) -> None:
        with holding(self._database, self._held) as db:
            found = operations.find(db, self._held.id)
            assert found is not None
            operations.finish(db, self._held, self._database.now_ms(), outcome, found.error)
        self.board.forget(self._held.id)

    def steps(self) -> list[tuple[str, str, list[str]]]:
        with self._database.read() as db:
            found = operations.find(db, self._held.id)
            assert found is not None
            shape: dict[str, Any] = shapes.operation(db, self.board, found)
        return [(step["Key"], step["State"], [each["State"] for each in step["Instances"]]) for step in shape["Steps"]]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    database = Database.at(tmp_path / "beanpole.db")
    yield Story(database)
    database.close()


FETCHED = ("forward/fetch", "done", ["done"] * 3)


def test_while_it_goes_on(story: Story) -> None:
    assert story.steps() == [
        FETCHED,
        ("forward/activate-1", "running", ["done", "running", "running"]),
        ("forward/drain", "waiting", ["waiting"] * 3),
    ]


def test_the_blamed_instance_failed_and_its_step_with_it(story: Story) -> None:
    story.turn(Blame(stage="start", cause="it ended", instance="i-2"), "failed")
    failed = ("forward/activate-1", "failed", ["done", "failed", "waiting"])
    assert story.steps() == [FETCHED, failed, ("return/activate-1", "waiting", ["waiting"])]
    story.write("return/activate-1/begin", "return/activate-1/i-1")
    story.finish("failed")
    assert story.steps() == [FETCHED, failed, ("return/activate-1", "done", ["done"])]


@pytest.mark.parametrize("why", [blame.aborted(), blame.too_long(), Blame(stage="x", cause="y", instance="i-9")])
def test_where_no_instance_is_to_blame_all_that_were_at_work_failed(story: Story, why: Blame) -> None:
    story.turn(why, "aborted")
    assert story.steps()[1] == ("forward/activate-1", "failed", ["done", "failed", "failed"])
    story.write("return/activate-1/begin", "return/activate-1/i-1")
    story.finish("aborted")
    assert story.steps()[1] == ("forward/activate-1", "failed", ["done", "failed", "failed"])


def test_a_way_back_that_did_not_end_does_not_run_for_ever(story: Story) -> None:
    story.turn(blame.aborted(), "aborted")
    story.write("return/activate-1/begin")
    assert story.steps()[2] == ("return/activate-1", "running", ["waiting"])
    story.finish("aborted")
    assert story.steps()[2] == ("return/activate-1", "failed", ["failed"])


def test_success_leaves_nothing_open(story: Story) -> None:
    story.write("forward/activate-1/i-2", "forward/activate-1/i-3", "forward/drain/begin")
    story.write(*(f"forward/drain/{slot}" for slot in SLOTS))
    story.finish("succeeded")
    assert [state for _, state, _ in story.steps()] == ["done"] * 3
