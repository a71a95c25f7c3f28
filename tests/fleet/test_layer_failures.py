"""Packages that cannot be had: what is said of them."""

from __future__ import annotations

import hashlib

import pytest
from layer_house import FakeRelease, House, add_source

from beanpole.fleet.layers import LayerError

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.long]


async def test_a_wrong_pin_is_named(house: House) -> None:
    error = await house.refused("beta\nalpha==9.9\n")
    assert error.requirement == "alpha==9.9"
    assert "alpha==9.9" in error.cause
    assert "exists" in error.remedy
    assert any("No solution found" in line for line in error.last_lines)
    assert house.installed(await house.ready("beta\nalpha==1.0\n")) == {"alpha": "1.0", "beta": "1.0"}


async def test_a_conflict_names_both_sides(house: House) -> None:
    error = await house.refused("beta\nalpha>=2\n")
    assert "beta" in error.cause
    assert "alpha>=2" in error.cause


async def test_hashes_that_the_author_demands_are_held_against_the_file(house: House) -> None:
    wheel = (house.index / "alpha-1.0-py3-none-any.whl").read_bytes()
    error = await house.refused(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    assert error.requirement == "alpha==1.0"
    assert "HASHES" in error.cause
    right = f"alpha==1.0 --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n"
    assert house.installed(await house.ready(right)) == {"alpha": "1.0"}


async def test_a_build_that_fails_is_named(house: House) -> None:
    add_source(house.index, "gamma", "3.0", first="raise RuntimeError('no compiler here')")
    error = await house.refused("gamma\n")
    assert "gamma" in error.requirement
    assert "wheel" in error.remedy
    assert any("no compiler here" in line for line in error.last_lines)


async def test_requirements_that_leave_the_bundle(house: House) -> None:
    manifest = house.manifest({"requirements.txt": "-r ../base.txt\n"})
    with pytest.raises(LayerError, match="outside the bundle"):
        await house.layers.ready(FakeRelease("k"), manifest, lambda line: None)


async def test_a_python_that_is_not_here(house: House) -> None:
    manifest = house.manifest({"requirements.txt": "alpha\n"})
    with pytest.raises(LayerError, match=r"Python 2\.7 is not on this machine"):
        await house.layers.ready(FakeRelease("k", "2.7"), manifest, lambda line: None)


async def test_an_index_that_cannot_be_reached_keeps_its_password(house: House) -> None:
    del house.environment["PIP_NO_INDEX"], house.environment["PIP_FIND_LINKS"]
    house.again(PIP_INDEX_URL="http://user:hunter2@127.0.0.1:9/simple", UV_HTTP_RETRIES="0")
    lines: list[str] = []
    with pytest.raises(LayerError) as caught:
        await house.ready("alpha\n", lines.append)
    assert "127.0.0.1:9" in caught.value.cause
    assert "cannot be reached" in caught.value.remedy
    assert "hunter2" not in "".join([*lines, *caught.value.last_lines, str(caught.value)])
