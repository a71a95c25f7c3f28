"""S3 on a real port with real clients, a real database and real files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from s3_site import LIMIT, stored
from served import Ledger, client, keys, served, session

from beanpole.aws.gateway import Gateway
from beanpole.services.s3 import S3
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database.at(tmp_path_factory.mktemp("store") / "beanpole.sqlite3")
    yield database
    database.close()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def s3(database: Database, blobs: Blobs) -> S3:
    return S3(database, blobs, keys, object_limit=LIMIT)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(scope="module")
def url(s3: S3, ledger: Ledger) -> Iterator[str]:
    with served(Gateway([], keys, objects=s3, audit=ledger.audit, on_error=ledger.on_error)) as url:
        yield url


@pytest.fixture(scope="session")
def clients() -> botocore.session.Session:
    return session()


@pytest.fixture(scope="module")
def boto(clients: botocore.session.Session, url: str) -> Any:
    return client(clients, "s3", url)


@pytest.fixture
def bucket(s3: S3, blobs: Blobs, ledger: Ledger) -> Iterator[str]:
    """An empty bucket; afterwards nothing may have gone wrong unseen, and no blob may be left behind."""
    name = f"bucket-{os.urandom(6).hex()}"
    s3.create_bucket(name)
    ledger.errors.clear()
    yield name
    assert ledger.errors == []
    s3.objects.delete(name, s3.list_keys(name, ""))
    s3.expire_uploads(-1)
    assert stored(blobs) == set()
