"""The log files of one home as a client gets them: ends of all, one as it grows, or everything in a zip file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Tuple, cast

from .http import HttpError, Request, Response

LINES, LINES_LIMIT = 100, 10_000  # lines of each file: Beanstalk's tail has 100
TAIL_BYTES = 2 * 1024 * 1024  # of one file that are read for its last lines
FOLLOW_BYTES = 256 * 1024  # of one answer to a follower


class Logs:
    """The folder `log` of a home; other files there are none of ours, and shown all the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def tail(self, request: Request) -> Response:
        """GET /logs?lines=100 → {"files": [{"name", "text"}]}, without the rotated ones."""
        lines = int(request.number("lines", LINES, 1, LINES_LIMIT))
        return Response.of({"files": await asyncio.to_thread(self._tails, lines)})

    async def follow(self, request: Request) -> Response:
        """GET /logs/follow?name=&offset= → {"text", "offset"}. Without offset: from the end.

        An offset beyond the end says that the file was rotated since: what was left to read of the rotated part comes
        first.
        """
        name = request.query.get("name", "")
        offset = request.number("offset", -1, -1, 2**53)
        text, after = await asyncio.to_thread(self._follow, name, int(offset))
        return Response.of({"text": text, "offset": after})

    async def bundle(self, request: Request) -> Response:
        """GET /logs/bundle → application/zip with every file, rotated ones too."""
        file, size = await asyncio.to_thread(self._bundle)
        return Response(content_type="application/zip", file=file, size=size)

    def _files(self) -> List[Path]:
        return sorted(path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith("."))

    def _tails(self, lines: int) -> List[Dict[str, Any]]:
        files = []
        for path in self._files():
            if path.suffix == ".log":
                with path.open("rb") as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                    last = file.read().splitlines()[-lines:]
                files.append({"name": path.name, "text": b"\n".join([*last, b""]).decode("utf-8", "replace")})
        return files

    def _follow(self, name: str, offset: int) -> Tuple[str, int]:
        path = next((path for path in self._files() if path.name == name), None)
        if path is None:
            raise HttpError(404, f"there is no log {name}")
        size = path.stat().st_size
        if offset < 0:
            return "", size
        if offset > size:
            rotated = path.with_name(f"{name}.1")
            gone = rotated.stat().st_size if rotated.is_file() else 0
            if gone > offset:
                text, after = self._piece(rotated, offset)
                return text, after if after < gone else 0
            offset = offset - gone if offset - gone <= size else 0
        return self._piece(path, offset)

    def _piece(self, path: Path, offset: int) -> Tuple[str, int]:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(FOLLOW_BYTES)
        # A character that is not wholly written yet is left for the next answer, unless it is no character at all.
        for cut in range(min(4, len(data))):
            try:
                whole = data[: len(data) - cut]
                return whole.decode("utf-8"), offset + len(whole)
            except UnicodeDecodeError:
                continue
        return data.decode("utf-8", "replace"), offset + len(data)

    def _bundle(self) -> Tuple[BinaryIO, int]:
        import tempfile  # both here, because a bundle is rare
        import zipfile

        file = tempfile.TemporaryFile(dir=self._folder.parent)  # noqa: SIM115 (closed by whoever sends it)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in self._files():
                archive.write(path, path.name)
        size = file.tell()
        file.seek(0)
        return cast(BinaryIO, file), size
