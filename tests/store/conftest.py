"""A folder of blobs for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from beanpole.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")
