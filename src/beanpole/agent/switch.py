"""The jobs `switch`, `commit`, `stop`: the other processes change over, the boot target is set, the old release ends.

Of one process name never two releases run at once, except those that take requests, which overlap on purpose.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Dict, List

from .arguments import Arguments
from .entry import Entry
from .failure import JobFailure
from .instance import Instance
from .jobs import Job
from .release import Release
from .remedy import remedy_for
from .supervisor import LISTENING

GRACE = 30.0  # seconds for a process to finish what it does
SETTLE = 1.0  # seconds in which a new process that cannot work usually ends


async def switch(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release; grace and settle if wanted, serving as in `commit`. Result: what was stopped and started.

    JobFailure when a new process ends with an error within `settle` seconds; then the old ones run again.
    """
    arguments = Arguments("switch", job.arguments)
    release = instance.releases.prepared(arguments.text("release"), "switch")
    if arguments.flag("serving"):
        refuse_absent(instance, release, "switch")
    grace = arguments.number("grace", GRACE)
    running = [entry for entry in instance.supervisor.running() if entry.name not in LISTENING]
    old = [entry for entry in running if entry.release != release.digest]
    started: List[Entry] = []
    try:
        job.progress("stopping the other processes of the old release")
        await _stop(instance, old, grace)
        job.progress("starting the other processes of the new release")
        await _start(instance, release, started)
        await _settle(instance, started, arguments.number("settle", SETTLE))
    except BaseException:
        if not instance.closing:
            await asyncio.shield(_restore(instance, started, old, grace))
        raise
    return {"stopped": [entry.name for entry in old], "started": [entry.name for entry in started]}


async def commit(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, keep. The release is what a boot starts; others are removed unless kept or running.

    `serving`: JobFailure, and nothing is changed, unless its web process is there. One that was proven and was not
    committed does not survive a start of the machine.
    """
    arguments = Arguments("commit", job.arguments)
    digest = arguments.text("release")
    release = instance.releases.prepared(digest, "commit")
    if arguments.flag("serving"):
        refuse_absent(instance, release, "commit")
    await instance.supervisor.unboot(digest)
    if instance.releases.current != digest or not release.durable:
        await asyncio.to_thread(instance.releases.commit, digest)
        instance.releases.write(replace(release, durable=True))
    instance.undo.clear()
    await instance.supervisor.boot(digest)
    kept = {digest, *(arguments.texts_or_none("keep") or [])}
    kept.update(entry.release for entry in instance.supervisor.running())
    kept.update([instance.releases.origin(name) for name in kept])  # a further turn lies in the folder of the first
    removed = [other for other in reversed(instance.releases.all()) if other not in kept]
    for other in removed:
        await asyncio.to_thread(instance.releases.remove, other)
        await instance.supervisor.forget(other)
    return {"removed": removed}


async def stop(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, names (null: all), grace. Result: whether something had to be killed. They stay stopped."""
    arguments = Arguments("stop", job.arguments)
    digest, names = arguments.text("release"), arguments.texts_or_none("names")
    pending = instance.undo.pending()
    if pending is not None and pending["old"] == digest and (names is None or "web" in names):
        instance.undo.clear()
    entries = [entry for entry in instance.supervisor.entries() if entry.release == digest]
    chosen = [entry for entry in entries if names is None or entry.name in names]
    job.progress(f"stopping {', '.join(entry.name for entry in chosen) or 'nothing'}")
    grace = arguments.number("grace", GRACE)
    return {"killed": await _stop(instance, chosen, grace)}


def refuse_absent(instance: Instance, release: Release, stage: str) -> None:
    """JobFailure unless its web process is there."""
    web = instance.supervisor.find(release.digest, "web")
    if web is None or not web.wanted:
        message = f"web of release {release.digest}, which had passed its checks, is not there any more"
        raise JobFailure(stage, message, "The machine was started anew, or somebody stopped it. Deploy again.")


async def _stop(instance: Instance, entries: List[Entry], grace: float) -> bool:
    killed = await asyncio.gather(*(instance.supervisor.stop(entry, grace) for entry in entries))
    return any(killed)


async def _start(instance: Instance, release: Release, started: List[Entry]) -> None:
    """Starts them, and adds each to `started`."""
    for name, command in release.processes:
        entry = instance.supervisor.find(release.digest, name)
        if name == "web" or (entry is not None and entry.alive and entry.wanted):
            continue
        instance.log.line(f"Starting {name} of release {release.digest}: {command}")
        try:
            started.append(await instance.supervisor.start(release.digest, name, None, proven=True))
        except OSError as error:
            raise JobFailure("switch", f"{name} cannot be started: {error}", command=command) from error


async def _settle(instance: Instance, started: List[Entry], seconds: float) -> None:
    """Returns when none of them ended with an error for so long."""
    processes = [(entry, entry.process) for entry in started if entry.process is not None]
    await asyncio.gather(*(process.wait(seconds) for _, process in processes))
    for entry, process in processes:
        if process.exit is None or process.exit.status == 0:
            continue
        lines = instance.supervisor.output(entry)
        raise JobFailure(
            "switch",
            f"process {entry.name} ended at once ({process.exit.words})",
            remedy_for(lines, process.exit.status) or "See the process's log on the instance.",
            command=instance.releases.prepared(entry.release, "switch").command(entry.name),
            exit_status=process.exit.status,
            last_lines=lines,
        )


async def _restore(instance: Instance, started: List[Entry], old: List[Entry], grace: float) -> None:
    await _stop(instance, started, grace)
    for entry in old:
        if not entry.wanted:
            await instance.supervisor.start(entry.release, entry.name, None, proven=True)
