"""A house of layers, with an index of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from layer_house import House, add_wheel

from beanpole.store.blobs import Blobs


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def house(tmp_path: Path) -> House:
    index = tmp_path / "index"
    index.mkdir()
    add_wheel(index, "alpha", "1.0")
    add_wheel(index, "alpha", "2.0")
    add_wheel(index, "beta", "1.0", needs=("alpha<2",))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
        "PIP_CACHE_DIR": str(tmp_path / "pip-cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
    }
    blobs = Blobs(tmp_path / "blobs")
    house = House(tmp_path, index, blobs, environment, None)  # type: ignore[arg-type]
    house.again()
    return house
