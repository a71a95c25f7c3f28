"""For all tests: HYPOTHESIS_PROFILE=thorough draws more examples. None has a deadline: machines may be busy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from beanpole.store.database import Database

settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


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
