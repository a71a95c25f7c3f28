"""The jobs `fetch`, `again` and `prepare`: a release's files arrive, or are here; then it is told what it shall run.

A release appears whole or not at all. Its files are made anew when commands of an earlier attempt worked on them: each
attempt begins from the bundle as it was uploaded.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from . import durable
from .arguments import Arguments
from .failure import JobFailure
from .instance import Instance
from .jobs import PROGRESS_SECONDS, Job
from .manifest import Manifest, Materialisation
from .release import FETCHED, PREPARED, STAGING, Release, remove_tree

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a process, as a Procfile may have it


async def fetch(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, manifest, source. Result: files and bytes copied, 0 when they are here already."""
    arguments = Arguments("fetch", job.arguments)
    digest, source = arguments.text("release"), Path(arguments.text("source"))
    manifest = await asyncio.to_thread(Manifest.read, arguments.items("manifest"))
    async with instance.fetching:
        if _is_here(instance, digest, manifest):
            return {"files": 0, "bytes": 0}
        staging = instance.releases.root / f"{STAGING}{os.urandom(8).hex()}"
        try:
            await _copy(job, manifest, source, staging)
            release = Release(digest, FETCHED, manifest.digest, instance.kernel.boot)
            await asyncio.to_thread(_place, instance, release, staging)
        finally:
            await asyncio.to_thread(remove_tree, staging)
    return {"files": len(manifest.files), "bytes": sum(size for *_, size in manifest.files)}


async def again(instance: Instance, job: Job) -> Dict[str, Any]:
    """Argument release, a further turn of one that ran here. Result: `of`, under which it is here, null when it is not.

    Nothing is copied and no command runs: it can be started as it stands, beside itself.
    """
    digest = Arguments("again", job.arguments).text("release")
    async with instance.fetching:
        return {"of": await asyncio.to_thread(instance.releases.again, digest)}


async def prepare(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, processes, environment, layer, stop_first, static. Writes them down; nothing is started.

    Result: folders of static files that are `missing`, although somebody asked for them.
    """
    arguments = Arguments("prepare", job.arguments)
    release = instance.releases.get(arguments.text("release"), "prepare")
    processes = {entry.text("name"): entry.text("command") for entry in arguments.objects("processes")}
    wrong = next((name for name in processes if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        raise JobFailure("prepare", f"{wrong!r} cannot name a process", "Use letters, digits, - and _ in the Procfile.")
    layer = arguments.text_or_none("layer")
    if layer is not None and not _is_layer(layer):
        raise JobFailure("prepare", f"the dependency layer {layer} is not complete", "It must be installed first.")
    folders = arguments.objects_or_empty("static")
    app = instance.releases.app(release.digest)
    # Looked for only now: the release's own commands may have made them.
    here = {each.text("folder") for each in folders if (app / each.text("folder")).exists()}
    wanted = [each for each in folders if each.text("folder") in here or not each.flag("optional")]
    prepared = replace(
        release,
        state=PREPARED,
        processes=tuple(processes.items()),
        environment=arguments.variables("environment"),
        layer=layer,
        stop_first=arguments.flag("stop_first"),
        static=tuple((each.text("path"), each.text("folder")) for each in wanted),
    )
    await instance.runner.entrust([app, instance.home / "home"])
    if prepared != release:
        instance.releases.write(prepared)
    return {"missing": [folder for _, folder in prepared.static if folder not in here]}


def _is_here(instance: Instance, digest: str, manifest: Manifest) -> bool:
    known = instance.releases.find(digest)
    if known is None:
        return False
    used = bool(instance.supervisor.running(digest)) or instance.releases.current == digest
    if known.manifest != manifest.digest:
        if used:
            message = f"release {digest} is in use here with other files"
            raise JobFailure("fetch", message, "A release's files never change: make a new release.")
        return False
    # What was once committed is proven and on disk. Of other attempts only an untouched copy of this boot is as good as
    # a new one: commands may have worked on the files, or a power cut torn them.
    fresh = known.state == FETCHED and known.boot == instance.kernel.boot
    return used or known.durable or fresh


def _is_layer(layer: str) -> bool:
    return (Path(layer) / "layer.json").is_file()


async def _copy(job: Job, manifest: Manifest, source: Path, staging: Path) -> None:
    work = Materialisation(manifest, source, _teller(job, len(manifest.files)))
    copying = asyncio.ensure_future(asyncio.to_thread(_into, work, staging))
    try:
        await asyncio.shield(copying)
    finally:
        work.cancel()
        await asyncio.wait([copying])


def _into(work: Materialisation, staging: Path) -> None:
    staging.mkdir()
    staging.chmod(0o711)  # whoever runs the application passes through to it
    work.into(staging / "app")


def _teller(job: Job, total: int) -> Callable[[int], None]:
    """Passes progress on from the copying thread, no faster than somebody could see it."""
    loop = asyncio.get_running_loop()
    last: Optional[float] = None

    def tell(count: int) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None or now - last >= PROGRESS_SECONDS or count == total:
            last = now
            loop.call_soon_threadsafe(job.progress, "copying files", count, total)

    return tell


def _place(instance: Instance, release: Release, staging: Path) -> None:
    instance.releases.write(release, staging)
    instance.releases.remove(release.digest)
    staging.rename(instance.releases.folder(release.digest))
    durable.sync_folder(instance.releases.root)
