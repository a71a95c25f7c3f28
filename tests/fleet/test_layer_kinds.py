"""Layers for servers: another Python, processor or C library than this machine's, none of which is needed here."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from layer_house import FakeRelease, House, add_source, add_wheel, backend

from beanpole.fleet.elsewhere import BuildFailed, Source
from beanpole.fleet.layers import Layer, LayerError
from beanpole.platforms.kind import Kind

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.long]

MINOR = sys.version_info.minor
ARM = Kind((3, 9, 2), "aarch64", (2, 31))
OLD = Kind((3, MINOR, 0), "x86_64", (2, 31))
NEW = Kind((3, MINOR, 0), "x86_64", (2, 39))


def files(layer: Layer) -> list[str]:
    return [wheel.file for wheel in layer.packages]


@pytest.fixture
def native(house: House) -> House:
    """`fast` has wheels for several kinds, and depends on `alpha`."""
    for tag in (
        f"cp3{MINOR}-cp3{MINOR}-manylinux_2_17_x86_64",
        f"cp3{MINOR}-cp3{MINOR}-manylinux_2_35_x86_64",
        "cp39-cp39-manylinux_2_28_aarch64",
        "cp39-cp39-manylinux_2_34_aarch64",
        f"cp3{MINOR}-cp3{MINOR}-musllinux_1_2_x86_64",
    ):
        add_wheel(house.index, "fast", "1.0", ("alpha",), tag)
    return house


async def test_each_kind_gets_the_wheels_that_fit_it(native: House) -> None:
    found = {kind: files(await native.ready("fast\n", kind=kind)) for kind in (ARM, OLD, NEW)}
    assert found == {
        ARM: ["alpha-2.0-py3-none-any.whl", "fast-1.0-cp39-cp39-manylinux_2_28_aarch64.whl"],
        OLD: ["alpha-2.0-py3-none-any.whl", f"fast-1.0-cp3{MINOR}-cp3{MINOR}-manylinux_2_17_x86_64.whl"],
        NEW: ["alpha-2.0-py3-none-any.whl", f"fast-1.0-cp3{MINOR}-cp3{MINOR}-manylinux_2_35_x86_64.whl"],
    }


async def test_wheels_of_the_stable_abi_fit_newer_pythons(house: House) -> None:
    add_wheel(house.index, "stable", "1.0", tag="cp38-abi3-manylinux2014_aarch64")
    assert files(await house.ready("stable\n", kind=ARM)) == ["stable-1.0-cp38-abi3-manylinux2014_aarch64.whl"]


async def test_requirements_are_those_of_the_kind(house: House) -> None:
    lines = "alpha==1.0 ; python_version < '3.10'\nalpha==2.0 ; python_version >= '3.10'\n"
    lines += "beta ; platform_machine == 'aarch64'\n"
    assert house.layers.packages("never made") is None
    arm = await house.ready(lines, kind=ARM)
    assert [(wheel.name, wheel.version) for wheel in arm.packages] == [("alpha", "1.0"), ("beta", "1.0")]
    old = await house.ready(lines, kind=OLD)
    assert [(wheel.name, wheel.version) for wheel in old.packages] == [("alpha", "2.0")]


async def test_a_kind_has_a_layer_of_its_own_that_is_made_once_and_goes_with_its_release(native: House) -> None:
    here = await native.ready("alpha\n")
    there = await native.ready("alpha\n", kind=OLD)
    assert there.key == OLD.layer(here.key)
    made = native.layers.resolutions
    assert (await native.ready("alpha\n", kind=OLD)).lock == there.lock
    assert native.layers.resolutions == made
    assert native.layers.packages(here.key) == (("alpha", "2.0"),)

    native.layers.prune([here.key])
    assert there.wheels.exists()
    native.layers.prune([])
    assert not there.wheels.exists()
    assert native.layers.packages(here.key) is None


async def test_two_kinds_at_once_and_two_calls_for_one(native: House) -> None:
    first, again, other = await asyncio.gather(*(native.ready("fast\n", kind=kind) for kind in (ARM, ARM, OLD)))
    assert (first.key, first.lock) == (again.key, again.lock)
    assert first.lock != other.lock
    assert (native.layers.resolutions, native.layers.fetches) == (2, 2)


async def test_kinds_that_differ_in_pythons_last_number_fetch_once(native: House) -> None:
    await native.ready("fast\n", kind=Kind((3, 9, 2), "aarch64", (2, 31)))
    await native.ready("fast\n", kind=Kind((3, 9, 18), "aarch64", (2, 31)))
    assert (native.layers.resolutions, native.layers.fetches) == (2, 1)


async def test_pure_python_without_a_wheel_is_built_here(house: House) -> None:
    add_source(house.index, "gamma", "3.0")
    own = {"own/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'}
    own["own/backend.py"] = backend("own", "0.1")
    layer = await house.ready({"requirements.txt": "gamma\n-e ./own\n", **own}, kind=ARM)
    assert files(layer) == ["gamma-3.0-py3-none-any.whl", "own-0.1-py3-none-any.whl"]


async def test_native_code_without_a_wheel_is_named_when_nobody_can_build_it(house: House) -> None:
    add_source(house.index, "gamma", "3.0", tag=f"cp3{MINOR}-cp3{MINOR}-linux_x86_64")
    error = await house.refused("gamma\n", kind=ARM)
    assert error.cause.startswith(
        "gamma 3.0 has no wheel for Python 3.9.2 on aarch64 with glibc 2.31, and what is built"
    )
    assert error.requirement == "gamma==3.0"
    assert "Choose a version" in error.remedy


async def test_a_local_project_with_native_code_is_named(house: House) -> None:
    own = {"own/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'}
    own["own/backend.py"] = backend("own", "0.1", tag=f"cp3{MINOR}-cp3{MINOR}-linux_x86_64")
    error = await house.refused({"requirements.txt": "./own\n", **own}, kind=ARM)
    assert "own has native code" in error.cause


async def test_source_whose_metadata_cannot_be_made_here_is_named(house: House) -> None:
    add_source(house.index, "gamma", "3.0", first="raise SystemExit('no pg_config')")
    error = await house.refused("gamma\n", kind=ARM)
    assert "gamma" in error.cause
    assert any("no pg_config" in line for line in error.last_lines)


async def test_only_wheels_for_others_and_no_source(house: House) -> None:
    add_wheel(house.index, "gamma", "3.0", tag="cp312-cp312-manylinux_2_17_x86_64")
    error = await house.refused("gamma\n", kind=ARM)
    assert "gamma" in error.cause
    assert error.remedy


async def test_a_release_for_another_python(house: House) -> None:
    manifest = house.manifest({"requirements.txt": "alpha\n"})
    with pytest.raises(LayerError, match=r"for Python 3\.8, not for Python 3\.9\.2 on aarch64"):
        await house.layers.ready(FakeRelease("k", "3.8"), manifest, lambda line: None, ARM)


# -- built on a server ---------------------------------------------------------------------------------------------


class SomeBuilder:
    """Stands for a server: what it was given, and the wheel that it makes of it."""

    def __init__(self, tag: str = "cp39-cp39-linux_aarch64", fails: BuildFailed | None = None) -> None:
        self.tag = tag
        self.fails = fails
        self.asked: list[tuple[str, str, str, list[str]]] = []
        self.building = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def build(self, source: Source, into: Path, say: Callable[[str], None]) -> Path:
        digest = hashlib.sha256(source.archive.read_bytes()).hexdigest()
        self.asked.append((source.name, source.version, digest, [tool.name for tool in source.tools]))
        self.building.set()
        await self.goes_on.wait()
        if self.fails is not None:
            raise self.fails
        add_wheel(into, source.name, source.version, tag=self.tag)
        return into / f"{source.name}-{source.version}-{self.tag}.whl"


@pytest.fixture
def sourced(house: House) -> str:
    """`gamma` has native code, and its build needs `tool`; the digest of its archive."""
    add_wheel(house.index, "tool", "1.5", ("alpha<2",))
    add_source(house.index, "gamma", "3.0", tag=f"cp3{MINOR}-cp3{MINOR}-linux_x86_64", needs="'tool'")
    return hashlib.sha256((house.index / "gamma-3.0.tar.gz").read_bytes()).hexdigest()


async def test_native_code_is_built_once_on_a_server_of_that_kind(house: House, sourced: str) -> None:
    builder = SomeBuilder()
    layer = await house.ready("gamma\nbeta\n", kind=ARM, builder=builder)
    assert files(layer)[-1] == "gamma-3.0-cp39-cp39-linux_aarch64.whl"
    tools = ["alpha-1.0-py3-none-any.whl", "tool-1.5-py3-none-any.whl"]
    assert builder.asked == [("gamma", "3.0", sourced, tools)]
    for wheel in layer.packages:
        assert hashlib.sha256(house.blobs.path(wheel.sha256).read_bytes()).hexdigest() == wheel.sha256
    await house.ready("gamma\nbeta\n# again\n", kind=ARM, builder=builder)
    assert len(builder.asked) == 1


async def test_a_build_that_fails_there_is_told_with_its_last_lines(house: House, sourced: str) -> None:
    failure = BuildFailed("gcc is missing on web1", "Install gcc and python3-dev there.", ["error: gcc: not found"])
    error = await house.refused("gamma\n", kind=ARM, builder=SomeBuilder(fails=failure))
    assert error.cause == (
        "gamma 3.0 has no wheel for Python 3.9.2 on aarch64 with glibc 2.31, "
        "and building it there failed: gcc is missing on web1"
    )
    assert (error.remedy, error.last_lines) == ("Install gcc and python3-dev there.", ("error: gcc: not found",))


async def test_a_wheel_for_another_kind_is_not_taken(house: House, sourced: str) -> None:
    error = await house.refused("gamma\n", kind=ARM, builder=SomeBuilder("cp312-cp312-linux_aarch64"))
    assert "gamma-3.0-cp312-cp312-linux_aarch64.whl, does not fit" in error.cause


async def test_when_nobody_waits_the_build_there_is_cancelled_and_the_next_call_starts_clean(
    house: House, sourced: str
) -> None:
    builder = SomeBuilder()
    builder.goes_on.clear()
    task = asyncio.create_task(house.ready("gamma\n", kind=ARM, builder=builder))
    await builder.building.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    builder.goes_on.set()
    assert files(await house.ready("gamma\n", kind=ARM, builder=builder)) == ["gamma-3.0-cp39-cp39-linux_aarch64.whl"]
