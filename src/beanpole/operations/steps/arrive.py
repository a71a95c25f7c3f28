"""Fetch, Once and Prepare: the release arrives on an instance and is made ready there, while the old one serves.

In Elastic Beanstalk's order: prebuild hooks, container commands (the leader's first), predeploy hooks. All of a step
have one time-out together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.fleet.agent_client import AgentRefused
from beanpole.fleet.layers import LayerError
from beanpole.operations.blame import Blame, StepFailed
from beanpole.operations.release import Process, commands_for
from beanpole.platforms.ports import localize
from beanpole.platforms.procfile import WEB
from beanpole.policies.plan import Finish, Once, Prepare
from beanpole.store.bundles import Manifest

if TYPE_CHECKING:
    from beanpole.operations.work import Work

FETCH_TIMEOUT = 600.0
"""Seconds for the bundle's files to be on an instance."""

LAYER_TIMEOUT = 1200.0
"""Seconds for a dependency layer to be installed from the wheels that were fetched."""

LONGER = 30.0
"""Seconds that a caller waits beyond a job's own limit: the job knows which command took so long, and says so."""

LOOK_TIMEOUT = 20.0
"""Seconds for an instance to say which releases it has."""

UNKNOWN_JOB = 400
"""The status with which an agent refuses a kind of job that it does not have."""

ENGINE_GRACE = 240
"""Seconds that Elastic Beanstalk adds to the command time-out of the option settings."""

KEPT = "kept"
"""In Prepare's result: the release had passed on the instance before, and comes back as it is."""

PREBUILD = "prebuild"
"""The stage, and in Once's result: its hooks ran on the leader."""


async def fetch(work: Work) -> dict[str, Any]:
    content = work.release.content
    if content.turn and await _is_here(work):
        return {"installed": 0}
    manifest = manifest_of(work)
    place = work.parts.fleet.place(work.instance)
    kind = place.kind(work.instance, content.python)
    builder = place.builder(work.instance, content.python)
    try:
        work.progress("resolving dependencies")
        layer = await work.parts.layers.ready(content, manifest, lambda words: work.progress(words), kind, builder)
    except LayerError as problem:
        # Nothing was sent anywhere yet, so no instance is to blame.
        blame = Blame(stage="Fetch", cause=problem.cause, remedy=problem.remedy, last_lines=tuple(problem.last_lines))
        raise StepFailed(blame) from problem
    source = await place.bring(work.instance, [*manifest.files.values(), *layer.digests()], work.progress)
    await work.job(
        "fetch",
        {"release": work.release.digest, "manifest": manifest.rows(), "source": source},
        FETCH_TIMEOUT,
    )
    arguments = place.layer_job(work.instance, layer, content.python) | {"timeout": LAYER_TIMEOUT}
    installed = await work.job("layer", arguments, LAYER_TIMEOUT + LONGER)
    return {"installed": installed.get("installed", 0)}


async def _is_here(work: Work) -> bool:
    """Whether it ran here in another turn: then nothing has to come, and it may be started beside itself."""
    try:
        return (await work.job("again", {"release": work.release.digest}, LOOK_TIMEOUT))["of"] is not None
    except AgentRefused as refusal:
        if refusal.status != UNKNOWN_JOB:
            raise
        return False  # an agent of an earlier version, to which it is a release like any other


async def once(work: Work) -> dict[str, Any]:
    until = command_limit(work)
    await run_hooks(work, PREBUILD, until)
    commands = commands_for(work.release.content, leader=True)
    await _run(work, "Once", commands, until, repeat=False)
    return {"commands": [command["name"] for command in commands], PREBUILD: True}


async def prepare(work: Work) -> dict[str, Any]:
    content = work.release.content
    if (work.operation.kind == "rollback" or content.turn) and await _is_kept(work):
        return {"commands": [], KEPT: True}
    until = command_limit(work)
    await run_hooks(work, PREBUILD, until, unless=PREBUILD)  # the leader's came before its commands
    commands = commands_for(content, leader=False)
    if commands:
        await _run(work, "Prepare", commands, until)
    await run_hooks(work, "predeploy", until)
    prepared = await work.job("prepare", prepare_arguments(work), FETCH_TIMEOUT)
    _tell_missing(work, prepared.get("missing", []))
    return {"commands": [command["name"] for command in commands]}


async def run_hooks(work: Work, stage: str, until: float, *, unless: str = "") -> None:
    """Run the release's hooks of that stage, if the step says so, until that time of the loop's clock.

    `unless`: a word with which an earlier step of the slot noted that there is no need. A stage that its agent's death
    interrupted is run again from its first hook.
    """
    if not isinstance(work.step, Once | Prepare | Finish) or not work.step.hooks:
        return
    if unless and work.noted(unless):
        return
    seconds = _left(until)
    arguments = _commands_arguments(work, stage, seconds) | {"of": work.step.hooks}
    await work.job("hooks", arguments, seconds + LONGER, name=stage)


async def _run(work: Work, stage: str, commands: list[dict[str, Any]], until: float, *, repeat: bool = True) -> None:
    seconds = _left(until)
    arguments = _commands_arguments(work, stage, seconds) | {"commands": commands}
    await work.job("run", arguments, seconds + LONGER, repeat=repeat)


def _left(until: float) -> float:
    return max(until - asyncio.get_running_loop().time(), 0.0)


def command_limit(work: Work) -> float:
    """When the commands and hooks of a step that begins now must have ended, by the loop's clock."""
    return asyncio.get_running_loop().time() + command_timeout(work)


def _tell_missing(work: Work, missing: list[str]) -> None:
    """Once for all instances of the step, which have the same files."""
    if work.slot != work.step.slots[0]:
        return
    for folder in missing:
        paths = " and ".join(each.path for each in work.release.content.static if each.folder == folder)
        work.say(f"The folder '{folder}' of static files does not exist: requests below {paths} get 404.", "WARN")


async def _is_kept(work: Work) -> bool:
    """Whether the release ran here before and is as it was: then it comes back without any of the user's commands."""
    return work.release.digest in (await work.job("preflight", {}, LOOK_TIMEOUT))["kept"]


def manifest_of(work: Work) -> Manifest:
    return Manifest.from_json(work.parts.blobs.path(work.release.content.manifest).read_text())


def prepare_arguments(work: Work) -> dict[str, Any]:
    content = work.release.content
    return {
        "release": work.release.digest,
        "processes": [{"name": process.name, "command": _command(work, process)} for process in content.processes],
        "environment": content.environment,
        "layer": _layer_folder(work),
        "stop_first": content.stop_first is not None,
        "static": msgspec.to_builtins(content.static),
    }


def _command(work: Work, process: Process) -> str:
    """A hard-coded port is everybody's on one machine: there each instance listens on its own address instead."""
    if process.name == WEB and work.release.content.fixed_port:
        return localize(process.command, work.parts.fleet.address(work.instance))
    return process.command


def _commands_arguments(work: Work, stage: str, seconds: float) -> dict[str, Any]:
    return {
        "release": work.release.digest,
        "stage": stage,
        "environment": work.release.content.environment,
        "layer": _layer_folder(work),
        "timeout": seconds,
    }


def _layer_folder(work: Work) -> str:
    content = work.release.content
    return work.parts.fleet.place(work.instance).layer_folder(work.instance, content.layer, content.python)


def command_timeout(work: Work) -> float:
    return work.settings.integer("aws:elasticbeanstalk:command", "Timeout") + ENGINE_GRACE
