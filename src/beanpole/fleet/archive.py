"""What can be read of a source archive without running anything of it: its name, and what its build needs."""

from __future__ import annotations

import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING

from packaging.utils import InvalidSdistFilename, parse_sdist_filename

from beanpole.platforms.requirements import canonical

if TYPE_CHECKING:
    from pathlib import Path

LEGACY = ("setuptools>=40.8.0",)
"""What PEP 518 assumes where a project says nothing."""

_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


def name_of(file: str) -> tuple[str, str]:
    """(canonical name, version) in the file name of a source archive; the version is "" where it has none."""
    try:
        name, version = parse_sdist_filename(file)
    except InvalidSdistFilename:
        stem = next((file.removesuffix(suffix) for suffix in _SUFFIXES if file.endswith(suffix)), file)
        plain, _, number = stem.rpartition("-")
        return (canonical(plain), number) if plain and number[:1].isdigit() else (canonical(stem), "")
    return str(name), str(version)


def build_requirements(archive: Path) -> tuple[str, ...]:
    """What has to be installed before its build can start, as requirements.

    Older setuptools ask for `wheel` only when they run, which nobody can answer on a machine without network.
    """
    wanted = _declared(archive)
    if any(canonical(each) == "setuptools" for each in wanted):
        wanted = (*wanted, *(() if "wheel" in map(canonical, wanted) else ("wheel",)))
    return wanted


def _declared(archive: Path) -> tuple[str, ...]:
    try:
        system = tomllib.loads(_member(archive, "pyproject.toml")).get("build-system", {})
        requires = system.get("requires", LEGACY)
    except (tomllib.TOMLDecodeError, AttributeError, UnicodeDecodeError):
        return LEGACY  # the build will say what is wrong with the file
    return tuple(map(str, requires)) if isinstance(requires, list) else LEGACY


def _member(archive: Path, name: str) -> str:
    """The text of a file at the top of the archive's one folder, "" if there is none."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            path = next((path for path in opened.namelist() if _is_at_top(path, name)), None)
            return opened.read(path).decode() if path is not None else ""
    with tarfile.open(archive) as packed:
        entry = next((entry for entry in packed if entry.isfile() and _is_at_top(entry.name, name)), None)
        content = packed.extractfile(entry) if entry is not None else None
        return content.read().decode() if content is not None else ""


def _is_at_top(path: str, name: str) -> bool:
    parts = path.removeprefix("./").split("/")
    return parts[-1] == name and len(parts) == 2
