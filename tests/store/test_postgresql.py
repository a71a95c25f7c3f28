"""What is true of PostgreSQL alone: one control plane at a time, sessions that end, texts compared by their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
import sqlalchemy as sa
from cluster import Cluster

from beanpole.store import facts, postgresql
from beanpole.store.database import Database, DatabaseUnusable
from beanpole.store.postgresql import BadAddress, address, shown
from beanpole.store.tenure import Superseded, Tenure

numbers = count()


@pytest.fixture
def url(cluster: Cluster) -> sa.URL:
    return address(cluster.empty(f"alone_{next(numbers)}"))


@pytest.fixture
def one(url: sa.URL) -> Iterator[Database]:
    database = opened(url)
    yield database
    database.close()


@pytest.fixture
def other(one: Database, url: sa.URL) -> Iterator[Database]:
    database = opened(url)
    yield database
    database.close()


def opened(url: sa.URL) -> Database:
    database = Database(url)
    database.migrate()
    return database


def cut(cluster: Cluster, database: Database) -> None:
    """Every connection to it breaks, as in a network that fails."""
    name = database.engine.url.database
    cluster.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@pytest.mark.postgresql
def test_every_text_is_compared_by_its_bytes(one: Database) -> None:
    query = (
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    )
    with one.read() as db:
        assert db.exec_driver_sql(query).all() == []


@pytest.mark.postgresql
def test_whoever_only_reads_cannot_write(one: Database) -> None:
    with pytest.raises(sa.exc.OperationalError), one.read() as db:
        facts.put(db, "news", "1")


@pytest.mark.postgresql
def test_a_connection_that_broke_is_noticed_before_it_is_used(cluster: Cluster, one: Database) -> None:
    with one.read():
        pass
    cut(cluster, one)
    with one.write() as db:
        facts.put(db, "news", "1")


@pytest.mark.postgresql
def test_a_transaction_that_is_cut_off_is_an_error_of_the_moment(cluster: Cluster, one: Database) -> None:
    with pytest.raises(sa.exc.OperationalError), one.write() as db:
        facts.put(db, "news", "1")
        cut(cluster, one)
        facts.put(db, "more", "1")
    with one.read() as db:
        assert facts.find(db, "news") is None


@pytest.mark.postgresql
def test_who_stands_still_while_writing_keeps_others_waiting_for_a_while_only(
    url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT", 1)
    stopped = opened(url)
    with pytest.raises(sa.exc.OperationalError), stopped.write() as db:
        facts.put(db, "news", "of one that was stopped")
        with stopped.write() as heir:  # waits until the server ends the other
            facts.put(heir, "news", "of its heir")
        facts.put(db, "more", "1")
    with stopped.read() as db:
        assert facts.find(db, "news") == "of its heir"
    stopped.close()


@pytest.mark.postgresql
def test_a_second_control_plane_is_refused_until_the_first_has_left(one: Database, other: Database) -> None:
    first, second = Tenure(one, "/homes/one"), Tenure(other, "/homes/two")
    first.take()
    first.begin()
    with pytest.raises(DatabaseUnusable) as refused:
        second.take()
    assert str(refused.value).startswith("another control plane (/homes/one on ")
    assert "beanpole down" in str(refused.value)
    first.leave()
    second.take()
    second.leave()


@pytest.mark.postgresql
def test_a_control_plane_whose_session_broke_takes_it_again(cluster: Cluster, one: Database, other: Database) -> None:
    first, second = Tenure(one, "/homes/one"), Tenure(other, "/homes/two")
    first.take()
    first.begin()
    cut(cluster, one)
    first.keep()
    with pytest.raises(DatabaseUnusable):
        second.take()
    with one.write() as db:
        facts.put(db, "news", "1")
    first.leave()


@pytest.mark.postgresql
def test_nothing_is_written_by_the_one_that_was_taken_over(cluster: Cluster, one: Database, other: Database) -> None:
    first, second = Tenure(one, "/homes/one"), Tenure(other, "/homes/two")
    first.take()
    first.begin()
    cut(cluster, one)
    second.take()
    second.begin()
    with pytest.raises(Superseded), one.write() as db:
        facts.put(db, "news", "of the first")
    with pytest.raises(Superseded, match="has the database"):
        first.keep()
    second.leave()
    with pytest.raises(Superseded, match="in the meantime"):
        first.keep()
    with other.write() as db:
        assert facts.find(db, "news") is None
    first.leave()


@pytest.mark.pure
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_addresses_as_they_are_written_everywhere(scheme: str) -> None:
    url = address(f"{scheme}://ada:s3s%40m@db.example:5433/shop?sslmode=require")
    assert (url.drivername, url.password) == ("postgresql+psycopg", "s3s@m")
    assert shown(url) == "postgresql://ada@db.example:5433/shop?sslmode=require"
    assert address(shown(url)).password is None


@pytest.mark.pure
@pytest.mark.parametrize(
    "wrong",
    [
        "sqlite:////tmp/secret",
        "mysql://ada:secret@db/shop",
        "postgresql://ada:sec/ret:secret@db:secret/shop",
        "secret",
        "postgresql://ada@db/shop?password=secret",
        "postgresql://ada@db/shop?sslpassword=secret",
    ],
)
def test_what_is_no_address_is_refused_without_a_word_of_a_password(wrong: str) -> None:
    with pytest.raises(BadAddress) as refused:
        address(wrong)
    cause, stop, remedy = str(refused.value).partition(". ")
    assert cause
    assert stop
    assert remedy
    assert "secret" not in str(refused.value)
