"""A control plane whose store is in PostgreSQL: one at a time, no password anywhere, and a database that goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from beanpole_site import Site, app, free_port, wait_for
from cluster import Cluster
from stories import BRISK, ONE_BY_ONE, UPDATED, lost
from test_failed_starts import attempt

from beanpole.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.postgresql, pytest.mark.timeout(300)]

OUTAGE = 20.0
"""Seconds, more than a lease lasts."""


@contextmanager
def on(cluster: Cluster) -> Iterator[Site]:
    """A site, not started yet, with a database of its own there."""
    made = Site()
    made.database = cluster.empty(f"{made.root.name}-e2e")
    try:
        yield made
    finally:
        print(made.log())  # shown where the test fails
        made.end()


def test_a_second_home_on_the_same_database_is_refused_and_disturbs_nothing(cluster: Cluster) -> None:
    with on(cluster) as site:
        site.start()
        assert site.database is not None
        other = Home(site.root / "other")
        said = attempt(other.root, free_port(), free_port(), BEANPOLE_DATABASE=site.database)
        assert said.startswith(f"another control plane ({site.home.root} on ")
        assert f"uses the database {site.database}. Stop it with `beanpole down`" in said
        assert site.client().describe_environments()["Environments"] == []
        site.stop()
        said = attempt(other.root, free_port(), free_port(), BEANPOLE_DATABASE=site.database)
        assert f", and the home {other.root} has none yet. " in said
        site.start()


def test_a_database_that_is_not_there_is_said_in_two_sentences(cluster: Cluster, tmp_path: Path) -> None:
    nowhere = cluster.url("nowhere").replace("beanpole@", "beanpole:s3sam@")
    said = attempt(tmp_path / "home", free_port(), free_port(), BEANPOLE_DATABASE=nowhere)
    assert said.startswith(f"the database {cluster.url('nowhere')} does not answer as it should: ")
    assert 'database "nowhere" does not exist' in said
    assert not (tmp_path / "home").exists()


def test_the_password_is_nowhere(cluster: Cluster) -> None:
    with on(cluster) as site:
        assert site.database is not None
        shown = site.database
        site.database = shown.replace("beanpole@", "beanpole:s3sam@")
        site.start()
        plane = site.client("beanpole").describe_control_plane()
        assert plane["Database"] == shown
        assert site.process is not None
        assert "s3sam" not in Path(f"/proc/{site.process.pid}/cmdline").read_text()
        assert "s3sam" not in site.log()
        files = [path for path in site.home.root.rglob("*") if path.is_file()]
        assert site.home.store in files
        assert [path for path in files if b"s3sam" in path.read_bytes()] == []
        asked = site.ask("SELECT query FROM pg_stat_activity WHERE query LIKE '%s3s%' AND pid <> pg_backend_pid()")
        assert asked == []


def test_a_database_that_goes_away_in_a_deployment_ends_neither_it_nor_a_request() -> None:
    cluster = Cluster()  # nobody else's
    try:
        with on(cluster) as site:
            site.start()
            site.create(app("probe", "v1"), instances=2, settings=(*BRISK, *ONE_BY_ONE))
            with site.load(rate=50, path="/version") as run:
                request = site.begin("v2", app("probe", "v2"))
                begun = "SELECT count(*) FROM journal WHERE key LIKE 'forward/%'"
                wait_for("begin of the deployment", lambda: site.ask(begun)[0][0])
                cluster.stop()
                try:
                    time.sleep(OUTAGE)
                    assert not site.dead()
                finally:
                    cluster.start()
                wait_for("answer", lambda: answers(site))
                done = site.ended(request_id=request)
            assert done["Outcome"] == "succeeded", done["Error"]
            assert run.report["failed"] == 0, lost(run.report)
            assert site.serving() == {"v2"}
            told = site.events(RequestId=request)
            assert told[-1] == UPDATED
            assert len(told) == len(set(told)), told
            assert site.deploy("v3", app("probe", "v3"))["Outcome"] == "succeeded"
    finally:
        cluster.end()


def answers(site: Site) -> bool:
    """Whether calls are taken again; until then clients are told to repeat them."""
    from botocore.exceptions import ClientError

    try:
        site.client().describe_environments()
    except ClientError as refused:
        assert refused.response["Error"]["Code"] == "ServiceUnavailable"
        assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        return False
    return True
