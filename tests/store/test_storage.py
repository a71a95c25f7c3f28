"""Which database belongs to which home: every combination that does not is refused with cause and remedy."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from cluster import IN_FILES, Cluster

from beanpole import storage
from beanpole.home import Home
from beanpole.storage import AT_ONCE, VARIABLE, chosen, move, opened
from beanpole.store import events, facts, instances, operations
from beanpole.store.database import Database, DatabaseUnusable
from beanpole.store.events import Filter
from beanpole.store.instances import Instance
from beanpole.store.operations import Draft
from beanpole.store.postgresql import address
from beanpole.store.schema import environment, metadata

pytestmark = pytest.mark.postgresql

numbers = count()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(Database, "at", IN_FILES)
    made = Home(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def url(cluster: Cluster) -> sa.URL:
    return address(cluster.empty(f"storage_{next(numbers)}"))


def start(home: Home, where: sa.URL | None) -> str:
    """The id of the store that is found there."""
    with opened(home, where, "local-1") as (database, _):
        return facts.identity(database, "elsewhere").store


def refusal(home: Home, where: sa.URL | None, moving: sa.URL | None = None) -> tuple[str, str]:
    """Cause and remedy; nothing is said over several lines, and no password is said."""
    with pytest.raises(DatabaseUnusable) as refused:
        move(home, moving) if moving is not None else start(home, where)
    cause, _, remedy = str(refused.value).partition(". ")
    assert "\n" not in str(refused.value)
    assert "s3sam" not in str(refused.value)
    assert remedy
    return cause, remedy


def test_a_home_remembers_its_database_without_the_password(home: Home, url: sa.URL) -> None:
    store = start(home, url.set(password="s3sam"))
    text = home.store.read_text()
    assert home.store.stat().st_mode & 0o077 == 0
    assert "s3sam" not in text
    assert chosen(None, home) == url
    assert start(home, chosen(None, home)) == store
    assert not home.database.exists()


def test_the_option_counts_more_than_the_variable_and_that_more_than_the_memory(
    home: Home, url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(None, home) is None
    start(home, url)
    monkeypatch.setenv(VARIABLE, "postgresql://ada:s3sam@db/one")
    found = chosen(None, home)
    assert found is not None
    assert (found.host, found.password) == ("db", "s3sam")
    found = chosen("postgresql://ada@db2/two", home)
    assert found is not None
    assert (found.host, found.password) == ("db2", None)


def test_a_home_is_not_started_on_an_empty_database_in_the_place_of_its_own(
    home: Home, url: sa.URL, cluster: Cluster
) -> None:
    store = start(home, url)
    empty = address(cluster.empty(f"storage_{next(numbers)}"))
    cause, _ = refusal(home, empty)
    assert cause.endswith(f"is empty, and the home {home.root} has the store {store}")
    assert start(home, url) == store


def test_another_homes_database_is_refused(home: Home, url: sa.URL, tmp_path: Path) -> None:
    store = start(home, url)
    other = Home(tmp_path / "other")
    other.make()
    cause, _ = refusal(other, url)
    assert cause.endswith(f"holds the store {store}, and the home {other.root} has none yet")
    assert not other.store.exists()


def test_a_home_with_a_store_of_its_own_is_not_started_elsewhere(home: Home, url: sa.URL) -> None:
    home.database.touch()
    cause, remedy = refusal(home, url)
    assert cause.startswith(f"the home {home.root} has its store in {home.database}")
    assert "--home" in remedy


def test_a_start_that_was_cut_short_is_begun_anew(home: Home, url: sa.URL, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(facts, "identity", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            start(home, url)
    assert start(home, url) == start(home, chosen(None, home))


def filled(home: Home) -> dict[str, list[tuple[object, ...]]]:
    """A store in the home's file with something in many tables; all rows of it."""
    database = Database.at(home.database)
    facts.identity(database, "local-1")
    columns = dict.fromkeys(("name", "application", "tier", "platform", "status", "health", "causes"), "x")
    with database.write() as db:
        db.execute(environment.insert().values(id="e-1", desired=1, created_at=0, updated_at=2**40, **columns))
        instances.add(db, Instance("i-1", "e-1", "running", "127.0.0.1", None, 2**40, silent_since=None))
        submit(db)
        for number in range(3 * AT_ONCE // 2):
            events.say(db, 0, events.Subject("shop"), f"event {number}")
    found = everything(database)
    database.close()
    return found


def submit(db: sa.Connection) -> int:
    return operations.submit(db, 0, Draft("e-1", "update", "user", "ada", "r", None, None, 3, "{}", 2**40))


def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.read() as db:
        return {
            table.name: sorted((tuple(row) for row in db.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def test_a_store_that_moves_is_the_same_one_in_another_place(home: Home, url: sa.URL) -> None:
    before = filled(home)
    move(home, url)
    assert not home.database.exists()
    with opened(home, chosen(None, home), "local-1") as (database, _):
        after = everything(database)
        own = {"counter:tenure", "tenure-of"}
        after["fact"] = [row for row in after["fact"] if row[0] not in own]
        assert after == before
        with database.write() as db:
            operations.supersede(db, "e-1", 0)
            assert submit(db) == 2
            last = events.listed(db, Filter(), 1)[0].at
            assert events.say(db, 0, events.Subject("shop"), "the next one") == last + 1
    cause, _ = refusal(home, None, moving=url)
    assert cause == f"the home {home.root} has no store in a file"


def test_a_move_that_fails_leaves_the_store_where_it_was(
    home: Home, url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled(home)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_copy", lambda table, *_: sys.exit("killed") if table.name == "event" else None)
        with pytest.raises(SystemExit):
            move(home, url)
    with opened(home, chosen(None, home), "local-1") as (database, _):
        assert everything(database) == before
    move(home, url)
    assert chosen(None, home) == url


def test_two_at_once(home: Home, url: sa.URL) -> None:
    with opened(home, url, "local-1"):
        cause, remedy = refusal(home, url)
    assert cause.startswith(f"another control plane ({home.root} on ")
    assert "beanpole down" in remedy
    start(home, url)


def test_a_database_of_something_else_is_left_alone(home: Home, url: sa.URL) -> None:
    theirs = Database(url)
    with theirs.write() as db:
        db.exec_driver_sql("CREATE TABLE orders (id int)")
    cause, _ = refusal(home, url)
    assert cause.endswith("has tables of something else")
    with theirs.read() as db:
        assert sa.inspect(db).get_table_names() == ["orders"]
    theirs.close()


def test_a_database_that_cannot_hold_every_text(home: Home, cluster: Cluster) -> None:
    options = "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    cause, remedy = refusal(home, address(cluster.empty(f"storage_{next(numbers)}", options)))
    assert cause.endswith("has the encoding LATIN1")
    assert "UTF8" in remedy


def test_a_server_that_does_not_answer_and_a_database_that_is_not_there(home: Home, url: sa.URL) -> None:
    silent = url.set(port=1, password="s3sam")
    cause, remedy = refusal(home, silent)
    assert "does not answer as it should: connection" in cause
    assert "refused" in cause
    assert "PGPASSFILE" in remedy
    cause, _ = refusal(home, url.set(database="nowhere"))
    assert 'database "nowhere" does not exist' in cause


def test_without_the_driver(home: Home, url: sa.URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    cause, remedy = refusal(home, url)
    assert cause.startswith("the driver for PostgreSQL cannot be loaded")
    assert "pip install 'beanpole[postgresql]'" in remedy
