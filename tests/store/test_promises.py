"""What transactions, orders and numbers promise, on whichever database the tests have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from beanpole.store import applications, facts, operations, rows
from beanpole.store import database as databases
from beanpole.store.applications import Application
from beanpole.store.database import Database
from beanpole.store.schema import fact


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.at(tmp_path / "beanpole.db")
    yield opened
    opened.close()


@contextmanager
def threads(*work: Callable[[], None]) -> Iterator[None]:
    """They run beside the block and have ended after it; what one of them raises is raised."""
    problems: list[BaseException] = []

    def run(each: Callable[[], None]) -> None:
        try:
            each()
        except BaseException as problem:
            problems.append(problem)

    running = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        for thread in running:
            thread.join(60)
    for problem in problems:
        raise problem


def amount(db: sa.Connection, name: str) -> int:
    return int(facts.find(db, name) or 0)


def test_nobody_sees_half_of_what_another_one_writes(database: Database) -> None:
    """Two accounts: all that is ever moved between them is somewhere, for writers and for readers."""
    with database.write() as db:
        facts.put(db, "here", "100")
        facts.put(db, "there", "0")
    sums: set[int] = set()
    ended = threading.Event()

    def move() -> None:
        for _ in range(25):
            with database.write() as db:
                here, there = amount(db, "here"), amount(db, "there")
                sums.add(here + there)
                facts.put(db, "here", str(here - 1))
                facts.put(db, "there", str(there + 1))

    def look() -> None:
        while not ended.is_set():
            with database.read() as db:
                sums.add(amount(db, "here") + amount(db, "there"))

    with threads(look, look):
        try:
            with threads(move, move, move):
                pass
        finally:
            ended.set()
    assert sums == {100}
    with database.read() as db:
        assert amount(db, "there") == 75


def test_a_reader_stays_where_it_began(database: Database) -> None:
    with database.read() as db:
        assert facts.find(db, "news") is None
        with database.write() as other:
            facts.put(other, "news", "1")
        assert facts.find(db, "news") is None
    with database.read() as db:
        assert facts.find(db, "news") == "1"


def test_a_reader_cannot_keep_a_writer_waiting_nor_a_writer_a_reader(database: Database) -> None:
    with database.write() as db:
        facts.put(db, "news", "1")
        with database.read() as other:
            assert facts.find(other, "news") is None


def test_what_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(LookupError), database.write() as db:
        facts.put(db, "news", "1")
        raise LookupError
    with database.read() as db:
        assert facts.find(db, "news") is None


def test_a_writer_waits_for_another_one_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "BUSY_TIMEOUT", 1)
    database = Database.at(tmp_path / "beanpole.db")

    def come_too_late() -> None:
        with pytest.raises(sa.exc.OperationalError), database.write():
            pass

    with database.write(), threads(come_too_late):
        pass
    with database.write() as db:
        facts.put(db, "news", "1")
    database.close()


def test_names_are_in_the_order_of_their_bytes(database: Database) -> None:
    names = ["b", "B", "a", "A", "é", "_", "-", "a b", "ab", "Z"]
    with database.write() as db:
        for name in names:
            applications.add(db, Application(name, None, 0, 0))
    with database.read() as db:
        assert [each.name for each in applications.listed(db)] == sorted(names, key=str.encode)
        behind = db.execute(sa.select(fact.c.name).where(fact.c.name > "a")).scalars().all()
        assert "Z" not in behind


def test_capital_letters_are_not_small_ones(database: Database) -> None:
    with database.write() as db:
        for name in ("Shop/x", "shop/y", "shop%z", "shop/"):
            facts.put(db, name, name)
    with database.read() as db:
        assert facts.below(db, "shop/") == {"": "shop/", "y": "shop/y"}
        assert rows.every(db, sa.select(fact.c.name).where(rows.begins(fact.c.name, "shop%")), dict[str, str])


def test_an_id_that_nothing_has_is_no_error_however_large(database: Database) -> None:
    with database.read() as db:
        assert operations.find(db, 10**18 - 1) is None


def test_a_text_may_hold_what_applications_write_to_their_logs(database: Database) -> None:
    text = "zero \0 bell \a 'quote' %s ☕ \\"
    with database.write() as db:
        facts.put(db, "said", text)
    with database.read() as db:
        found = facts.find(db, "said") or ""
    assert found.replace("\N{REPLACEMENT CHARACTER}", "\0") == text
