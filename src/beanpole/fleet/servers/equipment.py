"""What every server is sent: the agent's program, uv, Envoy. For other architectures the user gives them."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import uv

from beanpole.fleet.envoy import envoy_binary
from beanpole.fleet.servers import layout

if TYPE_CHECKING:
    from collections.abc import Callable

UV, ENVOY = "uv", "envoy"


@dataclass(frozen=True)
class Item:
    """A file as it is sent. Whoever has one of that name has the same content."""

    name: str
    path: Path
    sha256: str
    size: int


class Equipment:
    """`program`: the agent's. `folder`: uv and Envoy for another architecture are its ARCHITECTURE/uv and …/envoy."""

    def __init__(self, program: Path, folder: Path, envoy: Callable[[], Path] = envoy_binary) -> None:
        self._program = program
        self.folder = folder
        self._envoy = envoy
        self._known: dict[Path, Item] = {}

    @cached_property
    def program(self) -> Item:
        """The agent's program keeps its name, which says what is in it."""
        digest, size = _digest(self._program)
        return Item(self._program.name, self._program, digest, size)

    @property
    def version(self) -> str:
        """What tells this program in the version that agents report."""
        return self._program.stem.removeprefix("agent-")

    def machines(self) -> list[str]:
        """The architectures, as `uname -m` has them, that there are both programs for."""
        given = [
            path.name for path in sorted(self.folder.glob("*/")) if all((path / name).is_file() for name in (UV, ENVOY))
        ]
        return [*([platform.machine()] if sys.platform == "linux" else []), *given]

    def binary(self, name: str, machine: str) -> Item:
        """`uv` or `envoy` for one of `machines`. Reads all of it the first time. EnvoyMissing."""
        path = self.folder / machine / name
        if not path.is_file():
            path = self._envoy() if name == ENVOY else Path(uv.find_uv_bin())
        if path not in self._known:
            digest, size = _digest(path)
            self._known[path] = Item(f"{name}-{digest[:16]}", path, digest, size)
        return self._known[path]

    def binaries(self, machine: str) -> list[Item]:
        return [self.binary(name, machine) for name in (UV, ENVOY)]

    def envoy_path(self, machine: str) -> str:
        """Where Envoy lies on a server."""
        return f"{layout.BINARIES}/{self.binary(ENVOY, machine).name}"


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
        return found.hexdigest(), file.tell()
