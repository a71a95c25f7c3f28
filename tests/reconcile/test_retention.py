"""What is no longer needed goes; what serves, or may be gone back to, stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beanpole.operations.release import Content, Process, encode
from beanpole.reconcile.retention import YOUNG, Retention
from beanpole.store import applications, environments
from beanpole.store.applications import Application, Version
from beanpole.store.blobs import Blobs
from beanpole.store.bundles import File, Manifest
from beanpole.store.database import Database
from beanpole.store.environments import Environment


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
