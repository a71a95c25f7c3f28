"""The code of a hand-made service comes here from its server, as the zip of an application version.

A stream of tar is read as it comes, bounded in bytes and entries; nothing is unpacked to disk. What the zip may hold is
checked once more, like anybody's bundle, when it becomes a version.
"""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import zipfile
from typing import IO, TYPE_CHECKING, TypeVar

from beanpole.fleet.servers.failure import SetupFailed
from beanpole.store.bundles import Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence
    from pathlib import Path

    from beanpole.fleet.place import Progressed
    from beanpole.fleet.servers.server import Server

T = TypeVar("T")

PIECE = 256 * 1024
QUIET = 60.0
"""Seconds without a byte after which the server is given up."""

LINK = 0o120777 << 16
DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file: the same files give the same zip."""


class CodeFailed(SetupFailed):
    """The folder cannot be fetched."""


async def fetch(
    server: Server, folder: str, left_out: Sequence[str], scratch: Path, on_progress: Progressed | None = None
) -> Path:
    """The folder as a compressed tar in `scratch`. `left_out`: patterns of names. CodeFailed, ConnectionFailed."""
    words = [*server.become, "tar", "-C", folder, "--one-file-system", "--warning=no-file-changed"]
    words += [f"--exclude={pattern}" for pattern in left_out]
    process = await server.connection.process([*words, "-czf", "-", "."])
    target, size, limit = scratch / "code.tar.gz", 0, Limits().packed
    try:
        process.stdin.write_eof()
        with target.open("wb") as file:
            while piece := await _soon(process.stdout.read(PIECE)):
                size += len(piece)
                if size > limit:
                    raise CodeFailed(
                        f"{server.name}: {folder} has more than {limit >> 20} MB, compressed",
                        "Keep large files outside of the folder, then try again.",
                    )
                await asyncio.to_thread(file.write, piece)
                if on_progress is not None:
                    on_progress("fetching the code", size, 0)
        said = bytes(await process.stderr.read(4096)).decode("utf-8", "replace").strip()
        ended = await _soon(process.wait())
    except TimeoutError as error:
        raise CodeFailed(f"{server.name} sent nothing for {QUIET:g} s", "Look at its load, then try again.") from error
    finally:
        process.close()
    if ended.exit_status not in (0, 1):  # 1: a file changed meanwhile, a log for instance
        raise CodeFailed(f"{server.name}: {folder} cannot be read: {said or ended.exit_status}", "Look at that folder.")
    return target


def as_zip(packed: Path, target: Path, added: Mapping[str, str]) -> list[str]:
    """A zip of the tar's files and links at `target`, with `added` texts by path; what could not be taken, in words.

    Blocks. Raises CodeFailed for a stream that is no tar, or has too much in it.
    """
    strange, size, entries, limits = [], 0, 0, Limits()
    try:
        with (
            tarfile.open(packed, "r|gz") as tar,
            zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zip_,
        ):
            for member in tar:
                path = member.name.removeprefix("./")
                entries, size = entries + 1, size + member.size
                if entries > limits.entries or size > limits.unpacked:
                    raise CodeFailed("the folder has more files than a bundle may have", "Keep data outside of it.")
                if path in (".", "", *added) or member.isdir():
                    continue
                if member.issym():
                    _put(zip_, path, LINK, member.linkname)
                elif member.isreg() and (content := tar.extractfile(member)) is not None:
                    mode = 0o100755 if member.mode & 0o111 else 0o100644
                    _copy(zip_, path, mode << 16, content)
                else:
                    strange.append(path)
            for path, text in added.items():
                _put(zip_, path, 0o100644 << 16, text)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CodeFailed(f"what the server sent cannot be read: {error}", "Try again.") from error
    return strange


def _put(zip_: zipfile.ZipFile, path: str, attributes: int, text: str) -> None:
    info = zipfile.ZipInfo(path, DATE)
    info.external_attr, info.create_system = attributes, 3
    zip_.writestr(info, text)


def _copy(zip_: zipfile.ZipFile, path: str, attributes: int, content: IO[bytes]) -> None:
    info = zipfile.ZipInfo(path, DATE)
    info.external_attr, info.create_system, info.compress_type = attributes, 3, zipfile.ZIP_DEFLATED
    with zip_.open(info, "w", force_zip64=True) as file:
        shutil.copyfileobj(content, file, PIECE)


async def _soon(work: Awaitable[T]) -> T:
    async with asyncio.timeout(QUIET):
        return await work
