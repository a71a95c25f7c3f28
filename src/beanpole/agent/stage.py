"""The job `run`: the commands of one stage (hooks, container_commands, a build) in the release's folder, in order."""

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
        failure = self._failure(outcome)
        self._log.line(f"{failure.message}" + (" (ignored)" if self._ignore else ""), "ERROR")
        if not self._ignore:
            raise failure
        return "ignored"

    async def _outcome(self, command: Union[str, List[str]]) -> Outcome:
        seconds = self._limit - time.monotonic()
        try:
            outcome = await self._commands.run(command, self._folder, self._environment, seconds)
        except OSError as error:
            message = f"command {self._name} cannot be started: {error.strerror}: {error.filename or self._folder}"
            remedy = "Check its name, its executable bit and its cwd (relative to the application's folder)."
            raise JobFailure(self._stage, message, remedy, command=_text(command)) from error
        if outcome.exit is None:
            message = f"command {self._name} was ended: the time for {self._stage} was over"
            remedy = "Raise the command timeout (aws:elasticbeanstalk:command Timeout), or make the command faster."
            lines = outcome.last_lines
            raise JobFailure(self._stage, message, remedy, command=_text(command), last_lines=lines)
        return outcome

    def _failure(self, outcome: Outcome) -> JobFailure:
        status: Optional[int] = outcome.exit.status if outcome.exit is not None else None
        words = outcome.exit.words if outcome.exit is not None else "unknown"
        return JobFailure(
            self._stage,
            f"command {self._name} ended with {words}",
            remedy_for(outcome.last_lines, status) or "See engine.log on the instance for the whole output.",
            command=_text(self._command),
            exit_status=status,
            last_lines=outcome.last_lines,
        )


def _text(command: Union[str, List[str]]) -> str:
    return command if isinstance(command, str) else shlex.join(command)
