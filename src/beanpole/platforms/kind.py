"""What a dependency layer is made for: a Python, a processor and a C library, and which wheels fit them.

Machines of one kind share a layer. The rules for wheels are those of PEP 425 and 600, as `packaging` has them; of them
only what concerns CPython on Linux with glibc.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHITECTURES = ("x86_64", "aarch64")
"""As `uname -m` has them: those for which uv resolves and wheels are published."""

GLIBC_FLOOR = (2, 17)
"""The oldest that wheels are still made for, and that uv knows."""

_UV_KNOWS = (17, 28, *range(31, 41))
"""Minor versions of glibc 2 that uv has names for; one between two of them is resolved as the older one."""

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names of before PEP 600, by the minor version of glibc 2 that they stand for."""

_LEGACY_FLOOR = {"x86_64": 5, "aarch64": 17}
"""glibc 2 of the oldest manylinux that exists for the processor."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`python`: CPython's version, (3, 11, 2), or (3, 11) where no more is known. `glibc`: (2, 36)."""

    python: tuple[int, ...]
    architecture: str
    glibc: tuple[int, int]

    def __str__(self) -> str:
        return f"Python {_dotted(self.python)} on {self.architecture} with glibc {_dotted(self.glibc)}"

    @property
    def minor(self) -> str:
        """The Python as a platform names it, "3.11"."""
        return _dotted(self.python[:2])

    @property
    def wheels(self) -> str:
        """Names the kinds that take the same wheels: Python's last number plays no part in that."""
        return f"{self.minor}-{self.architecture}-{_dotted(self.glibc)}"

    def layer(self, key: str) -> str:
        """Names this kind's layer of a release's key, in paths too. A key has neither dot nor dash."""
        return f"{key}-{_dotted(self.python)}-{self.architecture}-{_dotted(self.glibc)}"

    def uv_words(self) -> list[str]:
        """Options with which `uv pip compile` resolves for this kind."""
        glibc = max((minor for minor in _UV_KNOWS if minor <= self.glibc[1]), default=GLIBC_FLOOR[1])
        platform = f"{self.architecture}-manylinux_2_{glibc}"
        return ["--python-version", _dotted(self.python), "--python-platform", platform]

    def pip_words(self) -> list[str]:
        """Options with which `pip download` takes wheels for this kind."""
        words = ["--python-version", _dotted(self.python), "--implementation", "cp", "--abi", self._abi]
        return [*words, *(word for platform in self.platforms() for word in ("--platform", platform))]

    def platforms(self) -> tuple[str, ...]:
        """Platform tags that run here, the best first."""
        return tuple(self._platforms())

    def fits(self, file: str) -> bool:
        """Whether a wheel of that file name installs on this kind."""
        return not _tags(self).isdisjoint(_tags_of(file))

    def fits_pure(self, file: str) -> bool:
        """Whether it does so on every other kind with the same Python too, since nothing native is in it."""
        return any(tag.platform == "any" and tag.abi == "none" and tag in _tags(self) for tag in _tags_of(file))

    @property
    def _abi(self) -> str:
        return "cp{}{}".format(*self.python[:2])

    def _platforms(self) -> Iterator[str]:
        for minor in range(self.glibc[1], _LEGACY_FLOOR[self.architecture] - 1, -1):
            yield f"manylinux_2_{minor}_{self.architecture}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{self.architecture}"
        yield f"linux_{self.architecture}"


def is_wheel(file: str) -> bool:
    return file.endswith(".whl")


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers)


@cache
def _tags(kind: Kind) -> frozenset[Tag]:
    python, platforms = kind.python[:2], kind.platforms()
    return frozenset(
        (
            *cpython_tags(python, [kind._abi], platforms),
            *compatible_tags(python, f"cp{python[0]}{python[1]}", platforms),
        )
    )


def _tags_of(file: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return frozenset()
