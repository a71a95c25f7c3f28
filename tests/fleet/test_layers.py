"""Layers with the real uv and pip."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from layer_house import PYPROJECT, PYTHON, FakeRelease, House, add_source, add_wheel, backend

from beanpole.store.bundles import check_and_unpack

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.long]


async def test_what_was_resolved_installs_without_network(house: House) -> None:
    layer = await house.ready("beta\n")
    assert [(wheel.name, wheel.version) for wheel in layer.packages] == [("alpha", "1.0"), ("beta", "1.0")]
    assert house.installed(layer) == {"alpha": "1.0", "beta": "1.0"}
    for wheel in layer.packages:
        content = (layer.wheels / wheel.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == wheel.sha256
        assert house.blobs.path(wheel.sha256).read_bytes() == content
        assert f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" in layer.lock


async def test_the_same_requirements_run_nothing_a_second_time(house: House) -> None:
    lines: list[str] = []
    first = await house.ready({"requirements.txt": "beta\n", "app.py": "1"}, lines.append)
    assert lines[0] == "resolving dependencies"
    lines.clear()
    for layers in (house.layers, house.again()):
        again = await house.ready({"requirements.txt": "beta\n", "app.py": "2"}, lines.append)
        assert (again.key, again.lock) == (first.key, first.lock)
        assert (layers.resolutions, layers.fetches) in ((1, 1), (0, 0))
    assert lines == []


async def test_of_changed_requirements_only_what_changed_is_fetched(house: House) -> None:
    await house.ready("alpha==1.0\n")
    lines: list[str] = []
    layer = await house.ready("alpha==1.0\nbeta\n", lines.append)
    assert "fetching 1 packages" in lines
    assert house.installed(layer) == {"alpha": "1.0", "beta": "1.0"}
    await house.ready("alpha==1.0 # the same\nbeta\n", lines.append)
    assert (house.layers.resolutions, house.layers.fetches) == (3, 2)


async def test_no_requirements_make_an_empty_layer_without_running_anything(house: House) -> None:
    layer = await house.ready({"app.py": ""})
    assert (layer.lock, layer.packages) == ("", ())
    assert (house.layers.resolutions, house.layers.fetches) == (0, 0)
    assert house.installed(layer) == {}


async def test_a_package_without_a_wheel_is_built_once(house: House) -> None:
    add_source(house.index, "gamma", "3.0")
    layer = await house.ready("gamma\n")
    assert house.installed(layer) == {"gamma": "3.0"}
    await house.ready("gamma\nalpha\n")
    lines: list[str] = []
    await house.ready("gamma\nalpha\n# other\n", lines.append)
    assert house.layers.fetches == 2


async def test_local_projects_are_built_from_the_bundle(house: House) -> None:
    files = {
        "requirements.txt": "-e ./own\n",
        "own/pyproject.toml": PYPROJECT,
        "own/backend.py": backend("own", "0.1"),
    }
    assert house.installed(await house.ready(files)) == {"own": "0.1"}
    files["own/backend.py"] = backend("own", "0.2")
    assert house.installed(await house.ready(files)) == {"own": "0.2"}


async def test_wheels_inside_the_bundle(house: House, tmp_path: Path) -> None:
    add_wheel(tmp_path, "delta", "4.0")
    wheel = (tmp_path / "delta-4.0-py3-none-any.whl").read_bytes()
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("requirements.txt", "--find-links vendor\ndelta\n")
        archive.writestr("vendor/delta-4.0-py3-none-any.whl", wheel)
    manifest = check_and_unpack(path, house.blobs)
    key = house.layers.key(house.requirements(manifest), PYTHON)
    layer = await house.layers.ready(FakeRelease(key), manifest, lambda line: None)
    assert house.installed(layer) == {"delta": "4.0"}


async def test_modules_of_the_bundle_do_not_replace_those_of_the_tools(house: House) -> None:
    trap = "raise SystemExit('the bundle ran')"
    traps = dict.fromkeys(("pip.py", "logging.py", "runpy.py", "sitecustomize.py", "packaging/__init__.py"), trap)
    layer = await house.ready({"requirements.txt": "--find-links .\nalpha\n", **traps})
    assert house.installed(layer) == {"alpha": "2.0"}
