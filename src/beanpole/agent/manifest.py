"""What a bundle holds, and how its folder is made from content-addressed files.

The agent trusts nobody: paths and links stay inside the folder, set-id bits are dropped, and each file's content is
compared with its digest while it is copied. Files are clones or copies, never hard links: applications write to them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Callable, List, Set, Tuple

from .failure import JobFailure

FICLONE = 0x40049409  # ioctl of Linux: let the file share the blocks of another (Btrfs, XFS)
PIECE = 1024 * 1024  # bytes read at a time
OWNER = 0o600  # the owner reads and writes whatever the bundle says: later jobs of ours work on these files
STAGE = "fetch"
_SHA256 = re.compile(r"[0-9a-f]{64}")

Told = Callable[[int], None]  # how many files are there


@dataclass(frozen=True)
class Manifest:
    """What is in a bundle, read and checked: folders, files (path, mode, sha256, size), links (path, target)."""

    digest: str
    folders: Tuple[PurePosixPath, ...]
    files: Tuple[Tuple[PurePosixPath, int, str, int], ...]
    links: Tuple[Tuple[PurePosixPath, str], ...]

    @classmethod
    def read(cls, entries: List[Any]) -> Manifest:
        """JobFailure for entries of no known form, paths that leave the folder, and paths that come twice."""
        folders, files, links = [], [], []
        seen: Set[PurePosixPath] = set()
        for entry in entries:
            if not isinstance(entry, list) or len(entry) < 2 or not isinstance(entry[0], str):
                raise _refused("", f"{entry!r} is no entry of a manifest")
            path = _inside(entry[0])
            if path in seen:
                raise _refused(entry[0], "it comes twice")
            if entry[1] == "dir" and len(entry) == 2:
                folders.append(path)
            elif entry[1] == "link" and len(entry) == 3 and isinstance(entry[2], str):
                links.append((path, entry[2]))
            elif len(entry) == 4 and isinstance(entry[1], int) and _SHA256.fullmatch(str(entry[2])):
                files.append((path, entry[1], str(entry[2]), int(entry[3])))
            else:
                raise _refused(entry[0], f"{entry[1:]!r} describes neither a file, nor a link, nor a folder")
            seen.add(path)
        leaves = {path for path, *_ in files} | {path for path, _ in links}
        for path in seen:
            if not leaves.isdisjoint(path.parents):
                raise _refused(str(path), "it lies below a file or link")
        text = json.dumps(sorted(entries, key=lambda entry: str(entry[0])), separators=(",", ":"))
        return cls(hashlib.sha256(text.encode()).hexdigest(), tuple(folders), tuple(files), tuple(links))


class Materialisation:
    """Makes the folder of one manifest. Runs in a thread; `cancel` ends it between two pieces."""

    def __init__(self, manifest: Manifest, source: Path, told: Told) -> None:
        self._manifest = manifest
        self._source = source
        self._told = told
        self._cancelled = threading.Event()
        self._clones = True

    def cancel(self) -> None:
        self._cancelled.set()

    def into(self, app: Path) -> None:
        """JobFailure, naming the path, for a file that is missing or differs and for a link that leads outside."""
        made = {app.parent}
        _make(app, made)
        try:
            for folder in self._manifest.folders:
                _make(app / folder, made)
            for count, (path, mode, sha256, size) in enumerate(self._manifest.files, 1):
                _make((app / path).parent, made)
                self._file(app, path, mode, sha256, size)
                self._told(count)
            # Last, so that no file is ever written through a link.
            for path, target in self._manifest.links:
                _make((app / path).parent, made)
                _link(app, path, target)
        except FileExistsError as error:
            raise _refused(str(error.filename), "this filesystem takes it for the same as another path") from error
        for path, target in self._manifest.links:
            # Once more with all links in place: one may lead out by way of another.
            if not _within(app, app / path):
                raise _leads_out(path, target)

    def _file(self, app: Path, path: PurePosixPath, mode: int, sha256: str, size: int) -> None:
        blob = self._source / sha256[:2] / sha256
        try:
            reading = os.open(blob, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            message = f"the content of {path} cannot be read: {error.strerror}: {blob}"
            raise JobFailure(STAGE, message, "Deploy again: content that is missing is sent anew.") from error
        try:
            writing = os.open(app / path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER)
            try:
                found, length = self._fill(reading, writing)
                os.fchmod(writing, (mode & 0o777) | OWNER)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        if found != sha256 or length != size:
            message = f"the content of {path} is damaged: {length} bytes with SHA-256 {found}, not {size} with {sha256}"
            raise JobFailure(STAGE, message, f"Remove the damaged file {blob} and deploy again.")

    def _fill(self, reading: int, writing: int) -> Tuple[str, int]:
        """Digest and length of what is in the new file now."""
        cloned = self._clone(reading, writing)
        digest, length = hashlib.sha256(), 0
        while True:
            if self._cancelled.is_set():
                raise JobFailure(STAGE, "the job was cancelled")
            piece = os.read(writing if cloned else reading, PIECE)
            if not piece:
                return digest.hexdigest(), length
            digest.update(piece)
            length += len(piece)
            if not cloned:
                _write(writing, piece)

    def _clone(self, reading: int, writing: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(writing, FICLONE, reading)
            except OSError:
                self._clones = False  # this filesystem cannot, or the source lies on another one
        return self._clones


def _inside(text: str) -> PurePosixPath:
    parts = text.split("/")
    if "\0" in text or any(part in ("", ".", "..") for part in parts):
        raise _refused(text, "only plain relative paths are taken")
    return PurePosixPath(text)


def _make(folder: Path, made: Set[Path]) -> None:
    """Makes a folder and those above it, below the first of `made`."""
    if folder not in made:
        _make(folder.parent, made)
        folder.mkdir()
        folder.chmod(0o755)  # as files, whatever our own umask is
        made.add(folder)


def _link(app: Path, path: PurePosixPath, target: str) -> None:
    lexical = os.path.normpath(str(path.parent / target))
    if not target or "\0" in target or target.startswith("/") or lexical.split("/")[0] == "..":
        raise _leads_out(path, target)
    (app / path).symlink_to(target)


def _within(app: Path, link: Path) -> bool:
    root = app.resolve()
    try:
        place = link.resolve()
    except RuntimeError:  # a circle of links leads nowhere, so not outside either
        return True
    return place == root or root in place.parents


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _leads_out(path: PurePosixPath, target: str) -> JobFailure:
    return _refused(str(path), f"this link leads out of the application's folder, to {target}")


def _refused(path: str, why: str) -> JobFailure:
    return JobFailure(STAGE, f"the bundle's {path} is refused: {why}", "Correct the bundle and deploy again.")
