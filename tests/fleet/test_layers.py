"""Layers with the real uv and pip, from a folder of tiny packages: no network is used."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beanpole.fleet.layers import Layer, LayerError, Layers
from beanpole.platforms.bundle import Bundle
from beanpole.platforms.python import requirements_of
from beanpole.platforms.requirements import Requirements
from beanpole.store.blobs import Blobs
from beanpole.store.bundles import Manifest, check_and_unpack

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.long]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

BACKEND = """
import base64, hashlib, os, pathlib, time, zipfile
NAME, VERSION = "{name}", "{version}"
def _files():
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    yield f"{{NAME}}.py", "VERSION = %r\\n" % VERSION
    yield f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    yield f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
def build_wheel(folder, settings=None, metadata=None):
    {first}
    file = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(os.path.join(folder, file), "w") as archive:
        for name, text in _files():
            archive.writestr(name, text)
            record += name + ",,\\n"
        archive.writestr(f"{{NAME}}-{{VERSION}}.dist-info/RECORD", record)
    return file
def prepare_metadata_for_build_wheel(folder, settings=None):
    {first}
    for name, text in _files():
        if "/" in name:
            path = pathlib.Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return f"{{NAME}}-{{VERSION}}.dist-info"
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def add_wheel(folder: Path, name: str, version: str, needs: tuple[str, ...] = ()) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


def add_source(folder: Path, name: str, version: str, first: str = "pass") -> None:
    """A source distribution without a wheel; `first` is what its build does first."""
    files = {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND.format(name=name, version=version, first=first),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


@dataclass
class House:
    """A control plane's share of layers, with an index of its own."""

    root: Path
    index: Path
    blobs: Blobs
    environment: dict[str, str]
    layers: Layers

    def again(self, **environment: str) -> Layers:
        """As after a restart of the control plane."""
        self.environment |= environment
        self.layers = Layers(
            self.root / "layers", self.blobs, {PYTHON: Path(sys.executable)}, environment=self.environment
        )
        return self.layers

    def manifest(self, files: dict[str, str]) -> Manifest:
        path = self.root / "bundle.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return check_and_unpack(path, self.blobs)

    def requirements(self, manifest: Manifest) -> Requirements:
        found = requirements_of(Bundle(manifest.files, lambda path: manifest.read(path, self.blobs)), ["python app.py"])
        assert isinstance(found, Requirements), found
        return found

    async def ready(self, files: dict[str, str] | str, say: Callable[[str], None] = lambda line: None) -> Layer:
        manifest = self.manifest({"requirements.txt": files} if isinstance(files, str) else files)
        key = self.layers.key(self.requirements(manifest), PYTHON)
        return await self.layers.ready(FakeRelease(key), manifest, say)

    async def refused(self, files: dict[str, str] | str) -> LayerError:
        with pytest.raises(LayerError) as caught:
            await self.ready(files)
        assert caught.value.remedy
        assert not list((self.root / "layers" / "fetched").glob("[!.]*"))
        return caught.value

    def installed(self, layer: Layer) -> dict[str, str]:
        """What an instance has after installing as its agent does: without network, from lock and wheels alone."""
        job = layer.job_arguments()
        venv = self.root / "venv"
        lock = self.root / "requirements.lock"
        lock.write_text(job["lock"])
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), "UV_NO_CONFIG": "1", "UV_OFFLINE": "1"}
        environment |= {"UV_CACHE_DIR": job["cache"]}
        uv, python = job["uv"], str(venv / "bin" / "python")
        run(environment, uv, "venv", "-q", "--clear", "--no-project", "--python", job["python"], str(venv))
        if job["lock"]:
            words = ["--no-index", "--require-hashes", "--find-links", job["wheels"], "-r", str(lock)]
            run(environment, uv, "pip", "install", "-q", "--python", python, *words)
        listing = run(environment, uv, "pip", "freeze", "--python", python)
        return dict(line.split("==") for line in listing.splitlines())


@dataclass(frozen=True)
class FakeRelease:
    layer: str
    python: str = PYTHON
    processes: tuple[Any, ...] = ()


def run(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


async def test_what_a_layer_installs_is_known_by_its_key(house: House) -> None:
    layer = await house.ready("beta\n")
    assert house.layers.packages(layer.key) == {"alpha": "1.0", "beta": "1.0"}
    assert house.layers.packages("of-nothing") is None


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
        "own/backend.py": BACKEND.format(name="own", version="0.1", first="pass"),
    }
    assert house.installed(await house.ready(files)) == {"own": "0.1"}
    files["own/backend.py"] = BACKEND.format(name="own", version="0.2", first="pass")
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


# -- failures ------------------------------------------------------------------------------------------------------


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


# -- the user's configuration --------------------------------------------------------------------------------------


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


# -- at the same time, and interrupted -----------------------------------------------------------------------------


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
