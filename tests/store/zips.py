"""Zips as no tool would make them, and what of them was stored."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from beanpole.store.blobs import Blobs
from beanpole.store.bundles import BundleError, Limits, check_and_unpack

MIB = 1024 * 1024


def info(name: str, mode: int = stat.S_IFREG | 0o644, system: int = 3) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = system
    entry.external_attr = mode << 16
    return entry


def make(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = name if isinstance(name, zipfile.ZipInfo) else info(name)
            archive.writestr(entry, content, compress_type=zipfile.ZIP_DEFLATED)
    return path


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, str]:
    return info(name, stat.S_IFLNK | 0o777), target


def stored(blobs: Blobs) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


def refusal(path: Path, blobs: Blobs, limits: Limits | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        check_and_unpack(path, blobs, limits)
    assert caught.value.remedy
    return str(caught.value)
