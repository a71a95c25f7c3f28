"""Layers at the same time, interrupted, and removed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from layer_house import PYTHON, FakeRelease, House, add_source

from beanpole.fleet.layers import LayerError

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.long]


async def test_calls_for_one_key_share_one_run(house: House) -> None:
    heard: list[list[str]] = [[], [], []]
    layers = await asyncio.gather(*(house.ready("beta\n", lines.append) for lines in heard))
    assert len({layer.key for layer in layers}) == 1
    assert (house.layers.resolutions, house.layers.fetches) == (1, 1)
    assert heard[0] == heard[1] == heard[2] != []


async def test_a_shared_failure_reaches_every_caller(house: House) -> None:
    results = await asyncio.gather(*(house.ready("alpha==9\n") for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [LayerError, LayerError]
    assert house.layers.resolutions == 1


@pytest.fixture
def hanging(house: House) -> Path:
    """A package whose build writes its process id to the answered file and then does not end."""
    told = house.root / "pid"
    hang = f"pathlib.Path({str(told)!r}).write_text(str(os.getpid())); time.sleep(600)"
    add_source(house.index, "gamma", "3.0", first=hang)
    return told


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (another process makes it true)
            await asyncio.sleep(0.02)


def pid_in(file: Path) -> int:
    return int(file.read_text())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_one_of_two_callers_may_leave(house: House, hanging: Path) -> None:
    first, second = (asyncio.create_task(house.ready("gamma\n")) for _ in range(2))
    await until(lambda: hanging.exists() and hanging.read_text() != "")
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    assert not second.done()
    assert is_alive(pid_in(hanging))
    second.cancel()
    await asyncio.wait([second])


async def test_when_nobody_waits_what_was_started_ends_and_the_next_call_starts_clean(
    house: House, hanging: Path
) -> None:
    task = asyncio.create_task(house.ready("gamma\n"))
    await until(lambda: hanging.exists() and hanging.read_text() != "")
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not is_alive(pid_in(hanging)))
    add_source(house.index, "gamma", "3.0")
    assert house.installed(await house.ready("gamma\n")) == {"gamma": "3.0"}
    assert house.layers.resolutions == 2


async def test_a_caller_that_comes_while_a_run_is_being_ended_gets_its_own(house: House, hanging: Path) -> None:
    leaving = asyncio.create_task(house.ready("gamma\n"))
    await until(lambda: hanging.exists() and hanging.read_text() != "")
    add_source(house.index, "gamma", "3.0")
    leaving.cancel()
    coming = asyncio.create_task(house.ready("gamma\n"))
    await asyncio.wait([leaving])
    assert house.installed(await coming) == {"gamma": "3.0"}


async def test_leftovers_of_a_killed_control_plane_are_removed(house: House) -> None:
    manifest = house.manifest({"requirements.txt": "alpha\n"})
    key = house.layers.key(house.requirements(manifest), PYTHON)
    leftover = house.root / "layers" / "fetched" / f".{key}.dead"
    (leftover / "wheels").mkdir(parents=True)
    (leftover / "wheels" / "half.whl").write_text("ha")
    layer = await house.layers.ready(FakeRelease(key), manifest, lambda line: None)
    assert not leftover.exists()
    assert [wheel.name for wheel in layer.wheels.iterdir()] == ["alpha-2.0-py3-none-any.whl"]


async def test_a_wheel_that_is_gone_is_fetched_again(house: House) -> None:
    first = await house.ready("alpha\n")
    house.blobs.remove(first.packages[0].sha256)
    second = await house.ready("alpha\n# again\n")
    assert house.layers.fetches == 2
    assert house.installed(second) == {"alpha": "2.0"}


async def test_prune_keeps_what_it_is_told(house: House) -> None:
    kept, gone = await house.ready("alpha==1.0\n"), await house.ready("alpha==2.0\n")
    for layer in (kept, gone):
        layer.target.mkdir()
        (layer.target.parent / f".{layer.target.name}.lock").touch()
    house.blobs.remove(gone.packages[0].sha256)
    house.layers.prune([kept.key])
    assert not gone.wheels.exists()
    assert sorted(path.name for path in (house.root / "layers").iterdir() if gone.key in path.name) == []
    assert kept.target.exists()
    assert len(list((house.root / "layers" / "entries").iterdir())) == 1
    await house.ready("alpha==1.0\n")
    assert house.layers.resolutions == 2


async def test_nothing_is_readable_for_others(house: House) -> None:
    for folder in (house.root / "layers", house.root / "layers" / "fetched"):
        assert folder.stat().st_mode & 0o077 == 0
