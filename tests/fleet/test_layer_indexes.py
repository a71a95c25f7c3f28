"""The user's configuration of pip and uv is asked for packages."""

from __future__ import annotations

from pathlib import Path

import pytest
from layer_house import House

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def simple_index(house: House) -> str:
    """The packages of the house as an index with pages, as a file address."""
    for wheel in house.index.glob("*.whl"):
        page = house.root / "simple" / wheel.name.partition("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as file:
            file.write(f'<a href="{wheel.as_uri()}">{wheel.name}</a>\n')
    del house.environment["PIP_NO_INDEX"], house.environment["PIP_FIND_LINKS"]
    return (house.root / "simple").as_uri()


async def test_an_index_configured_for_pip_alone(house: House, simple_index: str, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {simple_index}\n")
    house.again(PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert house.installed(await house.ready("beta\n")) == {"alpha": "1.0", "beta": "1.0"}


async def test_an_index_configured_for_uv_alone(house: House, simple_index: str) -> None:
    house.again(UV_DEFAULT_INDEX=simple_index)
    assert house.installed(await house.ready("beta\n")) == {"alpha": "1.0", "beta": "1.0"}


async def test_an_index_of_the_requirement_file(house: House, simple_index: str) -> None:
    layer = await house.ready(f"--index-url {simple_index}\nbeta\n")
    assert house.installed(layer) == {"alpha": "1.0", "beta": "1.0"}
