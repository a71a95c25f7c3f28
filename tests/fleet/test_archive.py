"""What is read of a source archive without running it."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from beanpole.fleet.archive import build_requirements, name_of


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("psycopg2-2.9.10.tar.gz", "psycopg2", "2.9.10"),
        ("Foo_Bar-1.0.zip", "foo-bar", "1.0"),
        ("uWSGI-2.0.tar.bz2", "uwsgi", "2.0"),
        ("own.zip", "own", ""),
    ],
)
def test_names(file: str, name: str, version: str) -> None:
    assert name_of(file) == (name, version)


def archive(path: Path, text: str | None) -> Path:
    files = {"x-1/vendored/pyproject.toml": "[build-system]\nrequires = ['wrong']\n"}
    files |= {"x-1/pyproject.toml": text} if text is not None else {}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as packed_tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed_tar.addfile(entry, io.BytesIO(content.encode()))
    return path


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[build-system]\nrequires = ['hatchling>=1', 'cython']\n", ("hatchling>=1", "cython")),
        ("[build-system]\nrequires = ['Setuptools<60']\n", ("Setuptools<60", "wheel")),
        ("[build-system]\nrequires = ['setuptools', 'wheel']\n", ("setuptools", "wheel")),
        ("[build-system]\nrequires = []\n", ()),
        ("[tool.black]\n", ("setuptools>=40.8.0", "wheel")),
        (None, ("setuptools>=40.8.0", "wheel")),
        ("not toml", ("setuptools>=40.8.0", "wheel")),
    ],
)
def test_build_requirements(tmp_path: Path, suffix: str, text: str | None, wanted: tuple[str, ...]) -> None:
    assert build_requirements(archive(tmp_path / f"x-1{suffix}", text)) == wanted
