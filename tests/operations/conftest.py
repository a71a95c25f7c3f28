"""One environment for each test, with an engine that can be run on it."""

from pathlib import Path

import pytest
from engine_site import EngineSite


@pytest.fixture
def site(tmp_path: Path) -> EngineSite:
    return EngineSite.at(tmp_path)
