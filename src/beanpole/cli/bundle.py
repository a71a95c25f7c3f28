"""A folder as a source bundle: which files, their digest, and the same zip for the same files.

The files are those of the working folder, not of the last commit: what git does not ignore, or what `.ebignore` does
not. Never `.git`, `.elasticbeanstalk`, virtual environments, caches. Equal contents have equal digests, whatever the
times of the files.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from beanpole.cli.errors import CommandFailed, Misused, WrongState
from beanpole.cli.git import Git
from beanpole.cli.ignore import Rules, ignored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MIB = 2**20

PACKED_LIMIT = 500 * MIB
UNPACKED_LIMIT = 2048 * MIB
COUNT_LIMIT = 100_000
"""Bytes of the zip, bytes and number of its files: what the control plane takes, said before anything is sent."""

NEVER = {".git", ".hg", ".svn", ".elasticbeanstalk", "__pycache__"}
"""Folders (and files of those names) that are no part of an application."""

IGNORE_FILE = ".ebignore"
"""Instead of .gitignore when it is there, as for the EB CLI."""

VENV_MARK = "pyvenv.cfg"
"""A folder with this file is a virtual environment: bound to one machine, and made anew on the instances."""

COMPRESSION = 1
"""The quickest level: the bundle is sent once, and mostly to this machine."""

CHUNK = MIB


@dataclass(frozen=True)
class Entry:
    """`target` is what a symbolic link points to, None for a file. `digest` is the SHA-256 of the file's bytes."""

    name: str
    size: int = 0
    executable: bool = False
    digest: str = ""
    target: str | None = None


@dataclass(frozen=True)
class Bundle:
    root: Path
    entries: tuple[Entry, ...]
    uncommitted: tuple[str, ...] = ()
    """Files that are part of the bundle and differ from the last commit."""
    artifact: Path | None = None
    """A zip that was made elsewhere and is sent as it is."""
    digest: str = field(default="", compare=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    def packed(self, path: Path) -> Path:
        """The zip: written to `path`, or the artifact. Raises CommandFailed when a file changes meanwhile."""
        if self.artifact is not None:
            return self.artifact
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
            for entry in self.entries:
                self._add(archive, entry)
                if archive.fp is not None and archive.fp.tell() > PACKED_LIMIT:
                    raise self._too_large(f"more than {PACKED_LIMIT // MIB} MiB zipped")
        return path

    def _add(self, archive: zipfile.ZipFile, entry: Entry) -> None:
        # Without a date of its own, a zip of the same files is the same zip.
        info = zipfile.ZipInfo(entry.name, date_time=(1980, 1, 1, 0, 0, 0))
        info.create_system = 3  # Unix: the mode below counts
        info.compress_type = zipfile.ZIP_DEFLATED
        if entry.target is not None:
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, os.fsencode(entry.target))
            return
        info.external_attr = (stat.S_IFREG | (0o755 if entry.executable else 0o644)) << 16
        info.file_size = entry.size
        seen = hashlib.sha256()
        with (self.root / entry.name).open("rb") as source, archive.open(info, "w") as sink:
            while chunk := source.read(CHUNK):
                seen.update(chunk)
                sink.write(chunk)
        if seen.hexdigest() != entry.digest:
            raise CommandFailed(f"{entry.name} changed while it was being bundled.", "Deploy again.")

    def _too_large(self, how: str) -> CommandFailed:
        largest = sorted(self.entries, key=lambda entry: -entry.size)[:3]
        names = ", ".join(f"{entry.name} ({words_of_size(entry.size)})" for entry in largest)
        return CommandFailed(
            f"The folder {self.root} is too large for a bundle: {how}.",
            f"Leave out what the application does not need, with {IGNORE_FILE}. The largest files: {names}.",
        )

    def checked(self) -> Bundle:
        """Itself. Raises CommandFailed when the control plane would not take it."""
        if self.artifact is None and not self.entries:
            raise WrongState(f"There is nothing to deploy in {self.root}.", "Name the application's folder.")
        if self.size > UNPACKED_LIMIT:
            raise self._too_large(f"{words_of_size(self.size)}, at most {words_of_size(UNPACKED_LIMIT)}")
        if len(self.entries) > COUNT_LIMIT:
            raise self._too_large(f"{len(self.entries):,} files, at most {COUNT_LIMIT:,}")
        for entry in self.entries:
            if entry.target is not None and leaves(entry.name, entry.target):
                raise CommandFailed(
                    f"The link {entry.name} points out of the folder, to {entry.target}.",
                    "Copy what it points to into the folder, or leave the link out with .ebignore.",
                )
        return self


def bundle_of(folder: Path, artifact: Path | None = None) -> Bundle:
    """What a deployment of the folder would send. Raises CommandFailed with the file at fault."""
    try:
        if artifact is not None:
            return _of_artifact(folder, artifact)
        git = Git.of(folder) if not (folder / IGNORE_FILE).is_file() else None
        names = git.files() if git is not None else list(walk(folder))
        entries = _entries(folder, without_environments(name for name in names if wanted(name)))
        # Reading everything takes long in just those folders that are too large.
        entries = _hashed(Bundle(folder, entries).checked())
        inside = {entry.name for entry in entries}
        uncommitted = tuple(name for name in git.uncommitted() if name in inside) if git is not None else ()
        return Bundle(folder, entries, uncommitted, digest=digest_of(entries))
    except OSError as problem:
        raise CommandFailed(
            f"{problem.filename or folder} cannot be read: {problem.strerror}.",
            f"Make it readable, or leave it out with {IGNORE_FILE}.",
        ) from problem


def walk(folder: Path) -> Iterable[str]:
    """Names of the files below the folder that neither .ebignore nor, without one, a .gitignore leaves out."""
    own = folder / IGNORE_FILE
    first = (Rules.parse(own.read_text(errors="replace")),) if own.is_file() else ()
    yield from _walk(folder, "", first, nested=not first)


def _walk(folder: Path, base: str, above: tuple[Rules, ...], *, nested: bool) -> Iterable[str]:
    own = folder / ".gitignore"
    rules = (*above, Rules.parse(own.read_text(errors="replace"), base)) if nested and own.is_file() else above
    with os.scandir(folder) as listed:
        inside = sorted(listed, key=lambda each: each.name)
    for each in inside:
        name = f"{base}{each.name}"
        is_folder = each.is_dir(follow_symlinks=False)
        if not wanted(each.name) or ignored(rules, name, folder=is_folder):
            continue
        if is_folder:
            yield from _walk(folder / each.name, f"{name}/", rules, nested=nested)
        elif name != IGNORE_FILE and (each.is_symlink() or each.is_file()):
            yield name


def wanted(name: str) -> bool:
    """False for what is no part of an application wherever it lies, such as an editor's backup copies."""
    return not name.endswith("~") and NEVER.isdisjoint(name.split("/"))


def without_environments(names: Iterable[str]) -> list[str]:
    """Without virtual environments, sorted."""
    names = sorted(set(names))
    environments = tuple(name.removesuffix(VENV_MARK) for name in names if name.endswith(f"/{VENV_MARK}"))
    return [name for name in names if not name.startswith(environments)] if environments else names


def leaves(name: str, target: str) -> bool:
    """Whether a link of that name and target points out of the bundle."""
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return posixpath.isabs(target) or reached == ".." or reached.startswith("../")


def digest_of(entries: Iterable[Entry]) -> str:
    """SHA-256 of names, contents, links and executable bits."""
    total = hashlib.sha256()
    for entry in entries:
        kind = f"link {entry.target}" if entry.target is not None else f"{entry.executable:d} {entry.digest}"
        total.update(os.fsencode(f"{entry.name}\0{kind}\n"))
    return total.hexdigest()


def words_of_size(size: int) -> str:
    """Bytes for a person."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _of_artifact(folder: Path, artifact: Path) -> Bundle:
    path = folder / artifact
    if not path.is_file():
        raise WrongState(f"There is no artifact {path}.", "Build it first, or correct deploy.artifact in config.yml.")
    if path.stat().st_size > PACKED_LIMIT:
        raise Misused(f"The artifact {path} has more than {PACKED_LIMIT // MIB} MiB.", "Make it smaller.")
    return Bundle(folder, (), artifact=path, digest=_sha256(path))


def _hashed(bundle: Bundle) -> tuple[Entry, ...]:
    """Its entries with the digests of files."""
    return tuple(
        entry if entry.target is not None else replace(entry, digest=_sha256(bundle.root / entry.name))
        for entry in bundle.entries
    )


def _entries(folder: Path, names: list[str]) -> tuple[Entry, ...]:
    """Without the digests of files: nothing is read."""
    found = []
    for name in names:
        path = folder / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # git still lists what was deleted and not committed
        try:
            name.encode()
        except UnicodeEncodeError:
            raise CommandFailed(f"The file name {name!r} is not UTF-8.", "Rename the file.") from None
        if stat.S_ISLNK(status.st_mode):
            found.append(Entry(name, target=str(path.readlink())))
        elif stat.S_ISREG(status.st_mode):
            executable = bool(status.st_mode & stat.S_IXUSR)
            found.append(Entry(name, status.st_size, executable))
    return tuple(found)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
