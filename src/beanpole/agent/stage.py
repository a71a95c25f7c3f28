"""The job `run`: the container commands of one stage in the release's folder, in order.

How a program of the user's failed is said here, for platform hooks as well (see hooks.py).
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from .arguments import Arguments
from .command import Commands, Outcome
from .environment import variables
from .failure import JobFailure
from .instance import Instance
from .jobs import Job
from .release import FETCHED, TOUCHED
from .remedy import remedy_for

TIMEOUT = 600.0  # seconds for a whole stage: Beanstalk's command timeout


async def run(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, stage, commands, environment, layer, timeout. Stops at the first failure that is not ignored.

    Result: how many commands ran, were skipped by their `test`, and failed but are ignored.
    """
    arguments = Arguments("run", job.arguments)
    release = instance.releases.get(arguments.text("release"), "run")
    stage = arguments.text("stage")
    app = instance.releases.app(release.digest)
    environment = variables(os.environ, arguments.variables("environment"), arguments.text_or_none("layer"), None)
    limit = time.monotonic() + arguments.number("timeout", TIMEOUT)
    if release.state == FETCHED:
        instance.releases.write(replace(release, state=TOUCHED))
    counts = {"ran": 0, "skipped": 0, "ignored": 0}
    commands = arguments.objects("commands")
    for number, each in enumerate(commands):
        job.progress(f"{stage}: {each.text('name')}", number, len(commands))
        step = _Step(instance, instance.commands(job), stage, each, app, environment, limit)
        counts[await step.run()] += 1
    return counts


class _Step:
    """One command of a stage."""

    def __init__(
        self,
        instance: Instance,
        commands: Commands,
        stage: str,
        arguments: Arguments,
        app: Path,
        environment: Dict[str, str],
        limit: float,
    ) -> None:
        self._log = instance.log
        self._commands = commands
        self._stage = stage
        self._name = arguments.text("name")
        self._command = arguments.command("command")
        self._test = arguments.text_or_none("test")
        self._folder = app / (arguments.text_or_none("cwd") or ".")
        self._environment = {**environment, **arguments.variables("env")}
        self._ignore = arguments.flag("ignore_errors")
        self._limit = limit

    async def run(self) -> str:
        """`ran`, `skipped` or `ignored`."""
        if self._test is not None:
            self._log.line(f"Running test of {self._name} ({self._stage}): {self._test}")
            if not (await self._outcome(self._test)).ok:
                self._log.line(f"Command {self._name} is skipped: its test did not succeed")
                return "skipped"
        self._log.line(f"Running command {self._name} ({self._stage}): {_text(self._command)}")
        outcome = await self._outcome(self._command)
        if outcome.ok:
            return "ran"
        failure = not_well(self._stage, f"command {self._name}", self._command, outcome, "engine.log")
        self._log.line(f"{failure.message}" + (" (ignored)" if self._ignore else ""), "ERROR")
        if not self._ignore:
            raise failure
        return "ignored"

    async def _outcome(self, command: Union[str, List[str]]) -> Outcome:
        what, seconds = f"command {self._name}", self._limit - time.monotonic()
        try:
            outcome = await self._commands.run(command, self._folder, self._environment, seconds)
        except OSError as error:
            remedy = "Check its name, its executable bit and its cwd (relative to the application's folder)."
            raise not_started(self._stage, what, command, error, remedy) from error
        if outcome.exit is None:
            raise not_well(self._stage, what, command, outcome, "engine.log")
        return outcome


def not_started(stage: str, what: str, command: Union[str, List[str]], error: OSError, remedy: str) -> JobFailure:
    """The failure of a program of the user's that the system does not start."""
    where = f": {error.filename}" if error.filename else ""
    return JobFailure(stage, f"{what} cannot be started: {error.strerror}{where}", remedy, command=_text(command))


def not_well(stage: str, what: str, command: Union[str, List[str]], outcome: Outcome, log: str) -> JobFailure:
    """The failure of one that ended badly, or not in its time. `log`: where its whole output is."""
    if outcome.exit is None:
        message = f"{what} was ended: the time for {stage} was over"
        remedy = "Raise the command timeout (aws:elasticbeanstalk:command Timeout), or make it faster."
        return JobFailure(stage, message, remedy, command=_text(command), last_lines=outcome.last_lines)
    status: Optional[int] = outcome.exit.status
    return JobFailure(
        stage,
        f"{what} ended with {outcome.exit.words}",
        remedy_for(outcome.last_lines, status) or f"See {log} on the instance for the whole output.",
        command=_text(command),
        exit_status=status,
        last_lines=outcome.last_lines,
    )


def _text(command: Union[str, List[str]]) -> str:
    return command if isinstance(command, str) else shlex.join(command)
