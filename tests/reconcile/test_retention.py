"""What is no longer needed goes; what serves, or may be gone back to, stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from beanpole.operations.release import Content, Process, encode
from beanpole.reconcile.retention import AUDIT_KEPT_MS, YOUNG, Retention
from beanpole.store import applications, environments
from beanpole.store.applications import Application, Version
from beanpole.store.blobs import Blobs
from beanpole.store.bundles import File, Manifest
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.schema import audit as audit_table


class Layers:
    """Remembers what it was told to keep."""

    def __init__(self) -> None:
        self.kept: set[str] = set()

    def prune(self, keep: set[str]) -> None:
        self.kept = keep

    def blobs(self) -> list[str]:
        return []


@pytest.fixture
def store(tmp_path: Path) -> Any:
    database = Database.at(tmp_path / "beanpole.db")
    blobs = Blobs(tmp_path / "blobs")
    with database.write() as db:
        applications.add(db, Application("shop", None, 0, 0))
        environments.add(
            db,
            Environment(
                "e-1", "shop-dev", "shop", None, "shop-dev", "WebServer", "p", "Ready", "Ok", "[]", 1, "v1", 1, 0, 0
            ),
        )
    return SimpleNamespace(database=database, blobs=blobs, layers=Layers())


def old(blobs: Blobs, content: bytes) -> str:
    """A blob that was written long ago."""
    digest = blobs.put([content]).sha256
    long_ago = time.time() - 2 * YOUNG
    os.utime(blobs.path(digest), (long_ago, long_ago))
    return digest


def bundle(blobs: Blobs, text: bytes) -> tuple[str, str]:
    """A manifest with one file; the digests of both."""
    member = old(blobs, text)
    entries = (File(path="application.py", mode=0o644, sha256=member, size=len(text)),)
    return old(blobs, Manifest(entries).to_json().encode()), member


def clean_up(store: Any) -> None:
    Retention(store, SimpleNamespace(expire_uploads=lambda age: 0, sweep=lambda now, age: None)).once()


def test_files_of_versions_and_of_releases_stay_and_what_nothing_names_goes(store: Any) -> None:
    of_version = bundle(store.blobs, b"of a version")
    of_release = bundle(store.blobs, b"of a release whose version was deleted")
    orphan = old(store.blobs, b"of nothing")
    fresh = store.blobs.put([b"on its way into the store"]).sha256
    content = Content(
        manifest=of_release[0], files="f", python="3.11", processes=(Process("web", "x"),), layer="kept", settings=()
    )
    with store.database.write() as db:
        applications.add_version(db, Version("shop", "v1", None, None, None, None, of_version[0], "x", 0, 0))
        environments.add_release(
            db, "e-1", version_label="v0", digest="d", content=encode(content), settings="[]", created_at=0, passed_at=1
        )

    clean_up(store)

    assert all(store.blobs.has(digest) for digest in (*of_version, *of_release, fresh))
    assert not store.blobs.has(orphan)
    assert store.layers.kept == {"kept"}


def test_a_second_clean_up_finds_nothing_to_do(store: Any) -> None:
    old(store.blobs, b"of nothing")
    clean_up(store)
    before = sorted(store.blobs.root.rglob("*"))
    clean_up(store)
    assert sorted(store.blobs.root.rglob("*")) == before


class Taken(Blobs):
    """A store in which a new bundle takes every blob just after retention looked at its age."""

    def listed(self, now: float) -> Iterator[tuple[str, float]]:
        for digest, age in super().listed(now):
            assert self.touch(digest)
            yield digest, age


def test_what_a_version_takes_while_the_clean_up_runs_stays(store: Any) -> None:
    manifest, member = bundle(store.blobs, b"of a version that was deleted, and comes again")
    store.blobs = Taken(store.blobs.root)
    clean_up(store)
    assert store.blobs.has(manifest)
    assert store.blobs.has(member)


def called(store: Any, at: int, count: int = 1) -> None:
    with store.database.write() as db:
        words = dict.fromkeys(("user", "source", "service", "operation", "subject", "request_id", "outcome"), "x")
        db.execute(sa.insert(audit_table), [{"at": at, **words} for _ in range(count)])


def ids(store: Any) -> list[int]:
    with store.database.read() as db:
        return list(db.scalars(sa.select(audit_table.c.id).order_by(audit_table.c.id)))


def test_the_audit_forgets_old_calls(store: Any) -> None:
    now = store.database.now_ms()
    called(store, now - AUDIT_KEPT_MS - 1000, 3)
    called(store, now - AUDIT_KEPT_MS + 60_000, 2)
    clean_up(store)
    assert ids(store) == [4, 5]


def test_the_audit_keeps_so_many_of_the_newest_calls(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.reconcile.retention.AUDIT_MOST", 3)
    called(store, store.database.now_ms(), 3)
    clean_up(store)
    assert ids(store) == [1, 2, 3]
    called(store, store.database.now_ms(), 2)
    clean_up(store)
    assert ids(store) == [3, 4, 5]
