"""A bundle as the platforms see it: its paths, and a way to read one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXT_LIMIT = 1024 * 1024
"""Bytes of a file that is read as text: lock files of large applications have a few hundred thousand."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """`files` maps each path to the SHA-256 of its content; `read` gives the content of one of them."""

    files: Mapping[str, str]
    read: Callable[[str], bytes]

    def text(self, path: str) -> str | None:
        """A text file in UTF-8, or in UTF-16 with its mark, as PowerShell writes it; None: neither, or far too long."""
        content = self.read(path)
        if len(content) > TEXT_LIMIT:
            return None
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            return None

    def below(self, folder: str) -> list[str]:
        """The files in a folder ("." is the whole bundle), sorted."""
        return sorted(path for path in self.files if folder == "." or path.startswith(f"{folder}/"))
