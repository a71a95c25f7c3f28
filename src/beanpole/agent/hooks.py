"""The job `hooks`: the platform hooks of one stage, programs that lie in .platform/hooks/STAGE of a release.

Each file is executed itself, no shell reads its name, in the application's folder and in the order of the names. What
lies there is looked for when the stage begins: earlier hooks and commands may have made or removed some.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

from .arguments import Arguments
from .environment import variables
from .failure import JobFailure
from .instance import Instance
from .jobs import Job
from .release import FETCHED, TOUCHED
from .stage import TIMEOUT, not_started, not_well
from .switch import refuse_absent

FOLDERS = ("hooks", "confighooks")
AFTERWARDS = "postdeploy"
STAGES = ("prebuild", "predeploy", AFTERWARDS)
SCRIPT_LIMIT = 1024 * 1024  # bytes of a script whose line ends are put right
EXECUTABLE = 0o555  # readable, too, for whoever runs it

_REMEDIES = {
    errno.ENOEXEC: "A script needs a first line that names its interpreter, such as #!/bin/bash.",
    errno.ENOENT: "The interpreter that its first line names is not on this machine, or the file was just removed.",
    errno.EACCES: "Its interpreter cannot be executed, or nothing on the file system on which it lies.",
}


async def hooks(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, of (hooks or confighooks), stage, environment, layer, timeout. Stops at the first failure.

    Result: `ran`, their names. Those of postdeploy get the port of the release's web process, which has to be there.
    """
    arguments = Arguments("hooks", job.arguments)
    stage, of = arguments.text("stage"), arguments.text("of")
    if stage not in STAGES or of not in FOLDERS:
        raise JobFailure("hooks", f"there are no {stage} {of}", "Control plane and agent do not fit: update the older.")
    release = instance.releases.get(arguments.text("release"), stage)
    app = instance.releases.app(release.digest)
    port = None
    if stage == AFTERWARDS:
        refuse_absent(instance, release, stage)
        web = instance.supervisor.find(release.digest, "web")
        port = web.port if web is not None else None
    environment = variables(os.environ, arguments.variables("environment"), arguments.text_or_none("layer"), port)
    limit = time.monotonic() + arguments.number("timeout", TIMEOUT)
    found = _found(app / ".platform" / of / stage)
    if found and release.state == FETCHED:
        instance.releases.write(replace(release, state=TOUCHED))
    for number, path in enumerate(found):
        job.progress(f"{stage}: {path.name}", number, len(found))
        await _run(instance, job, stage, path, app, environment, limit)
    return {"ran": [path.name for path in found]}


async def _run(
    instance: Instance, job: Job, stage: str, path: Path, app: Path, environment: Dict[str, str], limit: float
) -> None:
    shown = str(path.relative_to(app))
    for log in (instance.log, instance.hooks_log):
        log.line(f"Running hook {shown}")
    what = f"hook {path.name}"
    try:
        _make_executable(path)
        outcome = await instance.hooks(job).run([str(path)], app, environment, limit - time.monotonic())
    except OSError as error:
        failure = not_started(stage, what, shown, error, _REMEDIES.get(error.errno or 0, ""))
    else:
        if outcome.ok:
            return
        failure = not_well(stage, what, shown, outcome, "eb-hooks.log")
    instance.log.line(failure.message, "ERROR")
    raise failure


def _found(folder: Path) -> List[Path]:
    """Regular files, and links to some, by name. One that begins with a dot keeps a folder, or is an editor's."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _make_executable(path: Path) -> None:
    """As Elastic Beanstalk does: sets the bit that a zip may have lost, and ends lines as Unix does."""
    place = path.resolve()
    mode = place.stat().st_mode & 0o7777
    if place.stat().st_size <= SCRIPT_LIMIT:
        content = place.read_bytes()
        if content.startswith(b"#!") and b"\r\n" in content and b"\0" not in content:
            draft = place.with_name(f".{place.name}.lf")
            draft.write_bytes(content.replace(b"\r\n", b"\n"))
            draft.chmod(mode)
            draft.replace(place)  # whole or not at all: the agent may die
    if mode & EXECUTABLE != EXECUTABLE:
        place.chmod(mode | EXECUTABLE)
