"""The job `layer`: installs locked dependencies, offline, into a virtual environment at a fixed path.

Several agents may share a layer: one builds, the others wait. A layer is complete when its `layer.json` is there, which
is written last; a folder without it is removed and built again. What is in it, everybody may read and nobody write.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import stat
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from . import durable
from .arguments import Arguments
from .command import Commands, Outcome
from .environment import variables
from .failure import JobFailure
from .instance import Instance
from .jobs import Job
from .release import remove_tree
from .remedy import remedy_for

TIMEOUT = 1800.0  # seconds for all of it: gigabytes of wheels are unpacked and compiled
LOCK_SECONDS = 0.1  # between tries to get the lock, which has no wait that can be cancelled
STAGE = "layer"
WRITERS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
READERS = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
PASSERS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
WHEELS = ".wheels"  # in the layer while it is built: what was sent as blobs, under the names that installing needs
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_DIGEST = re.compile(r"[0-9a-f]{64}")


async def layer(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments key, target, python, lock, uv; cache and timeout if wanted. Result: packages installed now.

    The wheels: `wheels`, a folder of them, or `packages`, [[file name, SHA-256]…], and `blobs`, the folder of these.
    """
    arguments = Arguments(STAGE, job.arguments)
    target = Path(arguments.text("target"))
    limit = time.monotonic() + arguments.number("timeout", TIMEOUT)
    descriptor = await asyncio.to_thread(_open_lock, target)
    try:
        await _locked(descriptor, target, limit)
        if await asyncio.to_thread(_is_complete, target, arguments.text("key")):
            return {"installed": 0}
        await asyncio.to_thread(remove_tree, target)
        await _build(instance, job, arguments, target, limit, descriptor)
        packages = await asyncio.to_thread(_finish, target, arguments.text("key"))
    finally:
        os.close(descriptor)
    return {"installed": len(packages)}


async def _build(
    instance: Instance, job: Job, arguments: Arguments, target: Path, limit: float, descriptor: int
) -> None:
    environment = _environment(arguments)
    folder = arguments.text_or_none("wheels")
    uv = arguments.text("uv")
    venv = [uv, "venv", "--quiet", "--no-project", "--python", arguments.text("python"), str(target)]
    install = [
        uv, "pip", "install", "--python", str(target / "bin" / "python"), "--no-index", "--require-hashes",
        "--find-links", folder if folder is not None else str(target / WHEELS), "--compile-bytecode",
        "--link-mode", "hardlink" if "UV_CACHE_DIR" in environment else "copy",
        "-r", str(target / "requirements.lock"),
    ]  # fmt: skip
    steps = [("creating the virtual environment", venv)]
    if any(line.strip() and not line.lstrip().startswith("#") for line in arguments.text_or_empty("lock").splitlines()):
        steps.append(("installing the dependencies", install))
    for words, command in steps:
        job.progress(words)
        instance.log.line(f"Dependency layer {arguments.text('key')}: {words}")
        # uv holds the lock as well: if this agent is killed, nobody builds here until its uv is gone.
        commands = instance.commands(job)
        outcome = await _run(commands, command, target.parent, environment, limit - time.monotonic(), descriptor)
        if not outcome.ok:
            raise _failure(words, command, outcome)
        if command is venv:
            await asyncio.to_thread(
                durable.write, target / "requirements.lock", arguments.text_or_empty("lock").encode(), 0o644
            )
            if folder is None:
                await asyncio.to_thread(_name_wheels, arguments, target / WHEELS)


async def _run(
    commands: Commands, command: List[str], folder: Path, environment: Dict[str, str], seconds: float, lock: int
) -> Outcome:
    try:
        return await commands.run(command, folder, environment, seconds, [lock])
    except OSError as error:
        message = f"uv cannot be started: {error}"
        raise JobFailure(STAGE, message, "Prepare this instance again.", command=command[0]) from error


def _environment(arguments: Arguments) -> Dict[str, str]:
    cache = arguments.text_or_none("cache")
    return {
        **variables(os.environ, {}, None, None),
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        **({"UV_CACHE_DIR": cache} if cache is not None else {"UV_NO_CACHE": "1"}),
    }


def _failure(words: str, command: Sequence[str], outcome: Outcome) -> JobFailure:
    told = "took too long" if outcome.exit is None else f"failed ({outcome.exit.words})"
    return JobFailure(
        STAGE,
        f"{words} {told}" + (f": {outcome.last_lines[-1].strip()}" if outcome.last_lines else ""),
        remedy_for(outcome.last_lines) or "See engine.log on the instance for the whole output.",
        command=" ".join(command[:3]),
        exit_status=outcome.exit.status if outcome.exit is not None else None,
        last_lines=outcome.last_lines,
    )


def _name_wheels(arguments: Arguments, folder: Path) -> None:
    blobs = Path(arguments.text("blobs"))
    folder.mkdir()
    for item in arguments.items("packages"):
        if not isinstance(item, list) or len(item) != 2 or not all(isinstance(word, str) for word in item):
            raise _strange(item)
        name, digest = item
        if not _WHEEL.fullmatch(name) or not _DIGEST.fullmatch(digest):
            raise _strange(item)
        blob = blobs / digest[:2] / digest
        if not blob.is_file():
            raise JobFailure(STAGE, f"the wheel {name} was not sent: there is no {blob}", "Deploy again.")
        (folder / name).symlink_to(blob)


def _strange(item: Any) -> JobFailure:
    message = f"the argument packages of layer holds {item!r}, not a wheel's file name and its SHA-256"
    return JobFailure(STAGE, message, "Control plane and agent do not fit: update the older one.")


def _open_lock(target: Path) -> int:
    if not target.parent.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whatever our own umask is: applications run as users of their own.
        target.parent.chmod(0o755)
    return os.open(target.parent / f".{target.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


async def _locked(descriptor: int, target: Path, limit: float) -> None:
    while not _try_lock(descriptor):
        if time.monotonic() >= limit:
            raise JobFailure(STAGE, f"another agent is still building {target}", "See its engine.log.")
        await asyncio.sleep(LOCK_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_complete(target: Path, key: str) -> bool:
    known: Optional[Dict[str, Any]] = durable.read_json(target / "layer.json")
    if known is not None and known["key"] != key:
        message = f"{target} holds the layer {known['key']}, not {key}"
        raise JobFailure(STAGE, message, "A layer never changes: give each its own folder.")
    return known is not None


def _finish(target: Path, key: str) -> List[str]:
    """Makes the installed files readable for all and writable for nobody, and the layer complete. What is installed."""
    remove_tree(target / WHEELS)
    packages = sorted(path.name[: -len(".dist-info")] for path in target.glob("lib/python*/site-packages/*.dist-info"))
    for path in (target, *target.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        if path.is_dir():
            # Folders stay writable for their owner, so that whoever prunes layers need not change modes first.
            path.chmod(mode | READERS | PASSERS)
        else:
            path.chmod((mode | READERS | (PASSERS if mode & stat.S_IXUSR else 0)) & ~WRITERS)
    durable.sync_all(target)
    durable.write_json(target / "layer.json", {"key": key, "packages": packages})
    return packages
