"""A control plane's share of layers for tests, with an index of tiny packages in a folder: no network is used."""

from __future__ import annotations

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

from beanpole.fleet.elsewhere import Builder
from beanpole.fleet.layers import Layer, LayerError, Layers
from beanpole.platforms.bundle import Bundle
from beanpole.platforms.kind import Kind
from beanpole.platforms.python import requirements_of
from beanpole.platforms.requirements import Requirements
from beanpole.store.blobs import Blobs
from beanpole.store.bundles import Manifest, check_and_unpack

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

BACKEND = """
import base64, hashlib, os, pathlib, time, zipfile
NAME, VERSION, TAG = "{name}", "{version}", "{tag}"
def _files():
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    yield f"{{NAME}}.py", "VERSION = %r\\n" % VERSION
    yield f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    yield f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: " + TAG
def build_wheel(folder, settings=None, metadata=None):
    {first}
    file = f"{{NAME}}-{{VERSION}}-{{TAG}}.whl"
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


def add_wheel(folder: Path, name: str, version: str, needs: tuple[str, ...] = (), tag: str = "py3-none-any") -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


def backend(name: str, version: str, first: str = "pass", tag: str = "py3-none-any") -> str:
    """The text of a build backend that makes one wheel; `first` is what it does first."""
    return BACKEND.format(name=name, version=version, first=first, tag=tag)


def add_source(
    folder: Path, name: str, version: str, first: str = "pass", tag: str = "py3-none-any", needs: str = ""
) -> None:
    """A source distribution without a wheel; `needs` is what its build requires, a list's inside in TOML."""
    files = {
        "pyproject.toml": PYPROJECT.replace("[]", f"[{needs}]"),
        "backend.py": backend(name, version, first, tag),
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

    async def ready(
        self,
        files: dict[str, str] | str,
        say: Callable[[str], None] = lambda line: None,
        kind: Kind | None = None,
        builder: Builder | None = None,
    ) -> Layer:
        manifest = self.manifest({"requirements.txt": files} if isinstance(files, str) else files)
        python = kind.minor if kind is not None else PYTHON
        release = FakeRelease(self.layers.key(self.requirements(manifest), python), python)
        return await self.layers.ready(release, manifest, say, kind, builder)

    async def refused(
        self, files: dict[str, str] | str, kind: Kind | None = None, builder: Builder | None = None
    ) -> LayerError:
        with pytest.raises(LayerError) as caught:
            await self.ready(files, kind=kind, builder=builder)
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
