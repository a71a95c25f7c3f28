"""Takes a source bundle apart: a zip from a stranger becomes content-addressed files and a manifest.

Nothing in the zip is believed: sizes are counted while reading, names may not leave the bundle, links may not either.
A bundle is taken whole or refused with one sentence. The manifest's digest depends on paths, contents, links and
executable bits alone, so that the same files zipped twice are the same bundle.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import posixpath
import re
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from beanpole.store.blobs import Blobs

MIB = 1024 * 1024
CHUNK = MIB
"""Bytes read at a time."""

SMALL = 256 * 1024
"""Bytes up to which a file is hashed in memory first: one that is stored already is not written again."""

DIRECTORY_LIMIT = 24 * MIB
"""Bytes of a zip's directory, which is read at once: several times what ENTRIES ordinary names take."""

LINK_LIMIT = 4096
"""Bytes of a link's target, as Linux has it."""

PATH_LIMIT = 1024
NAME_LIMIT = 255
"""Bytes of a path and of one part of it: the second is what file systems take, the first leaves room for a root."""

LINK_DEPTH = 40
"""Links that one path may go through, as Linux has it."""

FILE_MODE = 0o644
PROGRAM_MODE = 0o755


class BundleError(Exception):
    """The bundle is refused. The message is one sentence with the place; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "Make the zip again from the application's folder.") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of the zip, bytes and entries that come out of it, and how many times larger the second may be.

    The ratio counts from `ratio_floor` bytes on: a small file of zeros is no attack, and costs nothing.
    """

    packed: int = 500 * MIB
    unpacked: int = 2048 * MIB
    entries: int = 100_000
    ratio: int = 200
    ratio_floor: int = 256 * MIB


class File(msgspec.Struct, frozen=True, tag="file", tag_field="kind"):
    """`mode` is 0o755 for programs and 0o644 for everything else."""

    path: str
    mode: int
    sha256: str
    size: int


class Link(msgspec.Struct, frozen=True, tag="link", tag_field="kind"):
    """A symbolic link; following `target` never leaves the bundle."""

    path: str
    target: str


class Folder(msgspec.Struct, frozen=True, tag="dir", tag_field="kind"):
    """A folder with nothing in it. The others follow from the paths of files."""

    path: str


Entry = File | Link | Folder


class Manifest(msgspec.Struct, frozen=True):
    """What a bundle holds, sorted by path."""

    entries: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of everything that makes this bundle different from another one."""
        return hashlib.sha256(msgspec.json.encode(self.rows())).hexdigest()

    def rows(self) -> list[list[Any]]:
        """As agents take it: ["path", mode, "sha256", size], ["path", "link", "target"] or ["path", "dir"]."""
        return [_row(entry) for entry in self.entries]

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        return msgspec.json.decode(text, type=cls)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries if isinstance(entry, File))

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file by path, those among them that are links to files."""
        by_path = {entry.path: entry for entry in self.entries}
        found = {}
        for path in by_path:
            entry = by_path.get(resolve(path, by_path) or "")
            if isinstance(entry, File):
                found[path] = entry.sha256
        return found

    def read(self, path: str, blobs: Blobs) -> bytes:
        """The content of a file, through links. KeyError when the bundle has no such file."""
        by_path = {entry.path: entry for entry in self.entries}
        entry = by_path.get(resolve(path, by_path) or "")
        if not isinstance(entry, File):
            raise KeyError(path)
        return blobs.path(entry.sha256).read_bytes()


def _row(entry: Entry) -> list[Any]:
    match entry:
        case File(path, mode, sha256, size):
            return [path, mode, sha256, size]
        case Link(path, target):
            return [path, "link", target]
        case Folder(path):
            return [path, "dir"]


def check_and_unpack(path: Path, blobs: Blobs, limits: Limits | None = None) -> Manifest:
    """Store every file of the zip at `path` as a blob and describe them. Raises BundleError for a zip that is refused.

    Names are checked before anything is written, and nothing is kept of a bundle that is refused.
    """
    limits = limits or Limits()
    size = path.stat().st_size
    if size > limits.packed:
        raise BundleError(f"The bundle has {size} bytes; the limit is {limits.packed // MIB} MiB.", _SMALLER)
    with _BoundedFile(path, "rb") as file, _archive(file) as archive, blobs.batch() as staged:
        members = dict(_members(archive, limits))
        entries = _Unpacking(archive, file, size, blobs, staged, limits).entries(members)
        by_path: dict[str, Entry] = {entry.path: entry for entry in entries}
        for entry in entries:
            if isinstance(entry, Link) and resolve(entry.path, by_path) is None:
                words = f"The link {entry.path} in the bundle points outside of it, to {entry.target}."
                raise BundleError(words, _INSIDE)
    return Manifest(tuple(sorted(entries, key=lambda entry: entry.path)))


_SMALLER = "Leave out what the application does not need, with .ebignore, and keep large data outside of it."
_INSIDE = "Use relative links to files of the application, or leave the link out."
_NAMES = "Make the zip from inside the application's folder, with forward slashes and relative names."


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever the zip library raises about a damaged zip, as one kind of error."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise BundleError(f"The bundle is not a zip, or a damaged one: {error}.") from error
    except (zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, OverflowError) as error:
        raise BundleError(f"The zip is damaged: {error}.") from error
    except RuntimeError as error:  # NotImplementedError among them
        raise BundleError(f"The zip is packed in a way that is not supported: {error}.") from error


def _archive(file: _BoundedFile) -> zipfile.ZipFile:
    with _reading():
        return zipfile.ZipFile(file)


class _BoundedFile(io.FileIO):
    """Counts what is read, and refuses to read a whole directory that is too large into memory."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY_LIMIT:
            raise BundleError("The zip's list of files is too large.", _SMALLER)
        data = super().read(size) or b""
        self.taken += len(data)
        return data


def _members(archive: zipfile.ZipFile, limits: Limits) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """(path, entry) of everything in the zip that has a name of its own. Refuses what cannot be on a disk as it is."""
    infos = archive.infolist()
    if len(infos) > limits.entries:
        raise BundleError(f"The bundle has {len(infos)} entries; the limit is {limits.entries}.", _SMALLER)
    seen: set[str] = set()
    parents: set[str] = set()
    files: set[str] = set()
    for info in infos:
        path = _path(info)
        if info.flag_bits & 0x41:
            raise BundleError(f"{path} in the bundle is encrypted.", "Make the zip without a password.")
        if not path:
            continue
        if path in seen:
            raise BundleError(f"The bundle has {path} twice.")
        seen.add(path)
        parents.update(_parents(path))
        if not _is_folder(info):
            files.add(path)
        yield path, info
    if both := sorted(files & parents):
        raise BundleError(f"{both[0]} in the bundle is a file, or a link, and a folder.")
    if not files:
        raise BundleError("The bundle is empty.", "Add the application's files to the zip.")


def _path(info: zipfile.ZipInfo) -> str:
    """The path in the bundle; "" for its root, which some tools list."""
    name = info.orig_filename
    shown = ascii(name[:80])
    parts = name.split("/")
    if "\0" in name or any(ord(char) < 32 for char in name):
        raise BundleError(f"The name {shown} in the bundle holds control characters.", _NAMES)
    if "\\" in name or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise BundleError(f"The name {shown} in the bundle is not a relative path with forward slashes.", _NAMES)
    if ".." in parts:
        raise BundleError(f"The name {shown} in the bundle leads out of it.", _NAMES)
    path = "/".join(part for part in parts if part not in ("", "."))
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise BundleError(f"The name {shown} in the bundle is not valid text.", _NAMES) from error
    if len(encoded) > PATH_LIMIT or any(len(part) > NAME_LIMIT for part in encoded.split(b"/")):
        raise BundleError(f"The name {shown}… in the bundle is too long.", "Use shorter names.")
    return path


def _mode(info: zipfile.ZipInfo) -> int:
    """The mode of the file where the zip was made on Unix, else 0: other systems keep something else in its place."""
    return info.external_attr >> 16 if info.create_system == 3 else 0


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.is_dir() or stat.S_ISDIR(_mode(info))


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


@dataclass
class _Unpacking:
    """Reads the entries one after the other, within the limits. `staged` takes what `blobs` does not have."""

    archive: zipfile.ZipFile
    file: _BoundedFile
    packed: int
    blobs: Blobs
    staged: Blobs
    limits: Limits
    unpacked: int = 0

    def entries(self, members: Mapping[str, zipfile.ZipInfo]) -> list[Entry]:
        parents = {parent for path in members for parent in _parents(path)}
        entries = [self._entry(path, info) for path, info in members.items() if path not in parents]
        links = {entry.path for entry in entries if isinstance(entry, Link)}
        if through := sorted(links & parents):
            raise BundleError(f"The bundle has files below {through[0]}, which is a link.", _INSIDE)
        return entries

    def _entry(self, path: str, info: zipfile.ZipInfo) -> Entry:
        mode = _mode(info)
        kind = stat.S_IFMT(mode)
        if _is_folder(info):
            return Folder(path)
        if kind == stat.S_IFLNK:
            return Link(path, self._target(path, info))
        if kind not in (0, stat.S_IFREG):
            raise BundleError(f"{path} in the bundle is neither a file, a folder nor a link.", "Leave it out.")
        sha256, size = self._store(info)
        return File(path, PROGRAM_MODE if mode & 0o111 else FILE_MODE, sha256, size)

    def _target(self, path: str, info: zipfile.ZipInfo) -> str:
        with self._open(info) as source:
            content = b"".join(self._chunks(source, LINK_LIMIT))
        try:
            target = content.decode()
        except UnicodeDecodeError as error:
            raise BundleError(f"The link {path} in the bundle has a target that is not text.", _INSIDE) from error
        if not target or len(content) > LINK_LIMIT or "\0" in target:
            raise BundleError(f"The link {path} in the bundle has no usable target.", _INSIDE)
        return target

    def _store(self, info: zipfile.ZipInfo) -> tuple[str, int]:
        with self._open(info) as source:
            chunks = self._chunks(source)
            if info.file_size <= SMALL:
                content = b"".join(chunks)
                sha256 = hashlib.sha256(content).hexdigest()
                if self.blobs.touch(sha256):
                    return sha256, len(content)
                chunks = iter((content,))
            stored = self.staged.put(chunks)
        return stored.sha256, stored.size

    def _open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        with _reading():
            return self.archive.open(info)

    def _chunks(self, source: IO[bytes], limit: int | None = None) -> Iterator[bytes]:
        """The content, counted as it comes: against all limits, and against what was read of the zip to produce it.

        With `limit` no more than one chunk beyond that many bytes.
        """
        before, own = self.file.taken, 0
        while limit is None or own <= limit:
            with _reading():
                chunk = source.read(CHUNK)
            if not chunk:
                return
            own += len(chunk)
            self.unpacked += len(chunk)
            if self.unpacked > self.limits.unpacked:
                raise BundleError(f"The bundle expands to more than {self.limits.unpacked // MIB} MiB.", _SMALLER)
            if self._expands(own, self.file.taken - before) or self._expands(self.unpacked, self.packed):
                words = f"The bundle expands to more than {self.limits.ratio} times its size, as zip bombs do."
                raise BundleError(words, _SMALLER)
            yield chunk

    def _expands(self, size: int, packed: int) -> bool:
        return size > self.limits.ratio_floor and size > self.limits.ratio * packed


def resolve(path: str, entries: Mapping[str, Entry]) -> str | None:
    """Where `path` leads once every link in it is followed; None if that leaves the bundle or goes round in circles.

    The result need not exist: a link may point to what the application makes later.
    """
    pending = path.split("/")
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        entry = entries.get("/".join([*done, part]))
        if not isinstance(entry, Link):
            done.append(part)
            continue
        links += 1
        if links > LINK_DEPTH or posixpath.isabs(entry.target):
            return None
        pending = [*entry.target.split("/"), *pending]
    return "/".join(done)
