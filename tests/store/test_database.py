"""The tables that migrations make are the tables that the code speaks of, and a newer store is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from cluster import ON_POSTGRESQL

from beanpole.store import events, facts, migrations, operations
from beanpole.store.database import Database, DatabaseUnusable
from beanpole.store.events import Filter, Subject
from beanpole.store.operations import Busy, Draft, LeaseLost
from beanpole.store.schema import environment, metadata, object_, upload

ON_SQLITE = pytest.mark.skipif(ON_POSTGRESQL, reason="speaks of the file of SQLite")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.at(tmp_path / "beanpole.db")


def test_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.read() as db:
        assert compare_metadata(MigrationContext.configure(db), metadata) == []


@ON_SQLITE
def test_a_store_is_private_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "beanpole.db"
    first = facts.identity(Database.at(path), "local-1")
    assert path.stat().st_mode & 0o077 == 0
    assert facts.identity(Database.at(path), "elsewhere") == first


@ON_SQLITE
def test_objects_of_an_older_store_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "beanpole.db"
    older = Database(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with older.write() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "0001")
    with older.write() as db:
        db.exec_driver_sql("INSERT INTO bucket VALUES ('b', 0)")
        db.exec_driver_sql("INSERT INTO object VALUES ('b', 'k', 'digest', 3, 'etag', 'text/plain', 7)")
        db.exec_driver_sql("INSERT INTO upload VALUES ('u', 'b', 'k2', NULL, 7)")
    older.close()
    with Database.at(path).read() as db:
        assert db.execute(sa.select(object_)).all() == [("b", "k", "digest", 3, "etag", "text/plain", 7, "{}")]
        assert db.execute(sa.select(upload)).all() == [("u", "b", "k2", None, 7, "{}")]


def test_a_store_of_a_newer_beanpole_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "beanpole.db"
    database = Database.at(path)
    with database.write() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(DatabaseUnusable, match="cannot be used"):
        Database.at(path)


def test_event_times_grow_by_a_millisecond_at_least_even_when_the_clock_stands_or_goes_back(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "beanpole.db")
    for now in (1000, 1000, 400, 1000):
        with database.write() as db:
            events.say(db, now, Subject(application="a"), "x")
    with database.read() as db:
        assert [event.at for event in events.listed(db, Filter(application="a"))] == [1003, 1002, 1001, 1000]


def test_counters_never_give_a_number_twice(database: Database) -> None:
    seen: list[int] = []

    def count() -> None:
        for _ in range(20):
            with database.write() as db:
                seen.append(facts.count_up(db, "epoch"))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 81))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Database:
    database = Database.at(tmp_path / "beanpole.db")
    database.clock = clock
    row = dict.fromkeys(("health", "causes", "tier", "platform"), "x") | {"status": "Ready", "desired": 1}
    with database.write() as db:
        for id_ in ("e-1", "e-2"):
            db.execute(
                environment.insert().values(id=id_, name=id_, application="a", created_at=0, updated_at=0, **row)
            )
    return database


def submit(store: Database, environment_id: str = "e-1", origin: operations.Origin = "user") -> int:
    draft = Draft(environment_id, "update", origin, "me", "r", None, None, None, "{}", 2**60)
    with store.write() as db:
        return operations.submit(db, store.now_ms(), draft)


def test_one_open_operation_of_a_user_in_each_environment(store: Database) -> None:
    submit(store)
    with pytest.raises(Busy):
        submit(store)
    submit(store, "e-2")


def test_a_users_operation_tells_those_of_the_system_to_stop_and_waits_for_them(store: Database) -> None:
    system = submit(store, origin="system")
    user = submit(store)
    held = operations.claim(store, "me", 1000)
    assert held is not None
    assert (held.id, held.abort) == (system, True)
    assert operations.claim(store, "me", 1000) is None
    with operations.holding(store, held) as db:
        operations.finish(db, held, store.now_ms(), "aborted")
    following = operations.claim(store, "me", 1000)
    assert following is not None
    assert following.id == user


def test_an_expired_lease_is_taken_over_and_its_first_holder_can_write_nothing_more(
    store: Database, clock: Clock
) -> None:
    submit(store)
    zombie = operations.claim(store, "one", 15_000)
    assert zombie is not None
    assert operations.claim(store, "two", 15_000) is None
    clock.now += 16
    heir = operations.claim(store, "two", 15_000)
    assert heir is not None
    assert heir.epoch > zombie.epoch
    with pytest.raises(LeaseLost), operations.holding(store, zombie) as db:
        operations.record(db, zombie, 0, "forward/fetch/i-1", {})
    with pytest.raises(LeaseLost):
        operations.renew(store, zombie, 15_000)
    with store.read() as db:
        assert operations.journal_of(db, heir.id) == {}


def test_epochs_grow_across_operations(store: Database) -> None:
    submit(store)
    submit(store, "e-2")
    first, second = operations.claim(store, "me", 1000), operations.claim(store, "me", 1000)
    assert first is not None
    assert second is not None
    assert second.epoch > first.epoch


def test_an_abort_that_was_accepted_is_never_lost(store: Database) -> None:
    submit(store)
    held = operations.claim(store, "me", 15_000)
    assert held is not None
    with store.write() as db:
        assert operations.ask_abort(db, "e-1")
    with operations.holding(store, held) as db:
        assert operations.finish(db, held, 0, "succeeded") is False
    assert operations.renew(store, held, 15_000) is True


def test_a_superseded_operation_is_closed_and_its_holder_notices(store: Database) -> None:
    submit(store)
    held = operations.claim(store, "me", 15_000)
    assert held is not None
    with store.write() as db:
        operations.supersede(db, "e-1", store.now_ms())
    with pytest.raises(LeaseLost):
        operations.renew(store, held, 15_000)
    submit(store)


def test_a_journal_key_is_written_once(store: Database) -> None:
    submit(store)
    held = operations.claim(store, "me", 15_000)
    assert held is not None
    with operations.holding(store, held) as db:
        operations.record(db, held, 0, "forward/fetch/i-1", {"installed": 0})
    with pytest.raises(sa.exc.IntegrityError), operations.holding(store, held) as db:
        operations.record(db, held, 0, "forward/fetch/i-1", {"installed": 3})
