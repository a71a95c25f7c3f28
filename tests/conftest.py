"""For all tests: HYPOTHESIS_PROFILE=thorough draws more examples. None has a deadline: machines may be busy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import ON_POSTGRESQL, Cluster, obstacle, shared
from hypothesis import settings

from beanpole.store.database import Database
from beanpole.store.postgresql import address

settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server, the same for all tests of a process."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    yield shared()
    shared().end()


if ON_POSTGRESQL:

    @pytest.fixture(scope="session", autouse=True)
    def _stores_are_elsewhere(cluster: Cluster) -> Iterator[None]:
        """What would be a file of SQLite is a database of PostgreSQL, a copy of one that was migrated."""

        def at(kind: type[Database], path: Path) -> Database:
            url, fresh = cluster.database_of(path)
            database = kind(address(url))
            if not fresh:
                try:
                    database.bring_up_to_date()
                except BaseException:
                    database.close()
                    raise
            return database

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "at", classmethod(at))
            yield

else:

    @pytest.fixture(scope="session", autouse=True)
    def _migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """A new database is a copy of one that was migrated: to migrate one takes longer than most tests."""
        template = tmp_path_factory.getbasetemp() / "migrated.db"
        really = Database.migrate

        def migrate(database: Database) -> None:
            path = Path(database.engine.url.database or "")
            if path == template or not path.is_file() or path.stat().st_size:
                really(database)
                return
            if not template.exists():
                Database.at(template).close()
            shutil.copyfile(template, path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "migrate", migrate)
            yield
