"""The agent as one file that can be sent: `agent-DIGEST.pyz`, a zip file that any Python 3.9 or newer runs.

The name holds the digest of what is inside, and the same sources make the same bytes: a file that is there is right.
Beside each source lies what this Python makes of it, which saves most of an agent's start; another Python takes the
source.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import os
import sys
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

from beanpole import __version__

PACKAGE = "beanpole_agent"  # inside the zip file, so that it cannot be taken for the installed package
MARSHAL = 2  # of its format's versions, the last whose bytes do not depend on what else this process holds in memory
UNCHECKED = (1).to_bytes(4, "little")  # of a bytecode file: by hash, and taken as it is (PEP 552)
EPOCH = (1980, 1, 1, 0, 0, 0)  # time of all members: the earliest that a zip file can hold
MAIN = """\
import sys

from {package}.main import main

sys.exit(main({version!r}))
"""


def agent_program(folder: Path) -> Path:
    """The agent's program in `folder`, made if it is not there yet. OSError when it cannot be written."""
    sources = _sources()
    digest = hashlib.sha256(f"{__version__} {sys.implementation.cache_tag}".encode())
    for name, text in sources:
        digest.update(f"\0{name}\0{len(text)}\0".encode() + text)
    path = folder / f"agent-{digest.hexdigest()[:16]}.pyz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, _archive(sources, f"{__version__}+{digest.hexdigest()[:16]}"))
    return path


def _sources() -> list[tuple[str, bytes]]:
    """Names and texts of the agent's modules, from wherever the package is installed."""
    root = resources.files("beanpole").joinpath("agent")
    names = sorted(entry.name for entry in root.iterdir() if entry.name.endswith(".py") and entry.name != "__main__.py")
    return [(name, root.joinpath(name).read_bytes()) for name in names]


def _archive(sources: list[tuple[str, bytes]], version: str) -> bytes:
    main = MAIN.format(package=PACKAGE, version=version).encode()
    members = [("__main__.py", main), *((f"{PACKAGE}/{name}", text) for name, text in sources)]
    members += [(f"{name}c", _compiled(name, text)) for name, text in members[1:]]
    buffer = io.BytesIO(b"#!/usr/bin/env python3\n")
    buffer.seek(0, os.SEEK_END)
    # Stored, because compressed bytes depend on the version of zlib.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in members:
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    return buffer.getvalue()


def _compiled(name: str, source: bytes) -> bytes:
    """The module's bytecode file, which is not held against its source again: both are in the same archive."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    return importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code, MARSHAL)


def _write(path: Path, data: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".agent-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft_path = Path(draft)
    draft_path.chmod(0o755)
    draft_path.replace(path)
