"""Bundles of simulated versions, made once for all simulations of a process, in a folder that goes with it."""

from __future__ import annotations

import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from beanpole.store.blobs import Blobs
from beanpole.store.bundles import check_and_unpack

if TYPE_CHECKING:
    from beanpole.simulation.version import Version


class Library:
    def __init__(self) -> None:
        # Removed when the last reference goes, at the end of the process at the latest.
        self._kept = tempfile.TemporaryDirectory(prefix="beanpole-simulation-")
        self.folder = Path(self._kept.name)
        self.blobs = Blobs(self.folder / "blobs")
        self._manifests: dict[tuple[tuple[str, str], ...], str] = {}

    def manifest(self, label: str, version: Version) -> str:
        """Digest of the manifest of its bundle."""
        files = tuple(version.files(label).items())
        if files not in self._manifests:
            path = self.folder / "bundle.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for name, text in files:
                    archive.writestr(name, text)
            document = check_and_unpack(path, self.blobs).to_json()
            self._manifests[files] = self.blobs.put([document.encode()]).sha256
        return self._manifests[files]


@cache
def library() -> Library:
    return Library()
