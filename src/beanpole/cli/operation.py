"""An operation as the API describes it, typed: what views are drawn from. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

RETIRE = "Retire"
"""The kind of step after which its instances are gone."""

LAST_LINES = 20
"""Lines that are shown of what a failing command printed: a traceback and what a server says after it."""


@dataclass(frozen=True)
class Progress:
    """Of one instance in one step: waiting, running, done or failed. `total` is 0 where nothing is counted."""

    instance: str
    state: str
    words: str = ""
    done: int = 0
    total: int = 0

    @property
    def told(self) -> str:
        """What it does, with its count: `3 of 5 checks passed in a row`."""
        return f"{self.done} of {self.total} {self.words}".rstrip() if self.total > 0 else self.words


@dataclass(frozen=True)
class Step:
    key: str
    words: str
    state: str
    instances: tuple[Progress, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Blame:
    """Why an operation did not come about, as the control plane found it."""

    cause: str
    stage: str = ""
    instance: str = ""
    command: str = ""
    exit_status: int | None = None
    last_lines: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def shown_lines(self) -> tuple[str, ...]:
        return self.last_lines[-LAST_LINES:]

    def line(self) -> str:
        """Stage, instance, cause, command and exit status in one sentence."""
        where = f" on {self.instance}" if self.instance else ""
        what = f"{self.stage} failed{where}: {self.cause.rstrip('.')}" if self.stage else self.cause.rstrip(".")
        command = f" (command: {self.command})" if self.command else ""
        status = f"exit status {self.exit_status}"
        ended = "" if self.exit_status is None or status in self.cause else f" with {status}"
        return f"{what}{command}{ended}."


@dataclass(frozen=True)
class Operation:
    """`phase` is forward, return or done; `outcome` succeeded, failed or aborted, '' while it is open."""

    id: str
    environment: str
    kind: str
    phase: str
    outcome: str = ""
    release: int | None = None
    previous: int | None = None
    created_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    blame: Blame | None = None
    steps: tuple[Step, ...] = ()
    served: int | None = None
    failed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def fault(self) -> Blame | None:
        """What went wrong; None also where it was somebody's wish that it ended."""
        return None if self.outcome == "aborted" else self.blame

    @property
    def over(self) -> bool:
        return self.phase == "done"

    @property
    def seconds(self) -> float | None:
        """From the request to the end; None while it is open."""
        if self.created_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.created_at).total_seconds()

    @property
    def instances(self) -> list[str]:
        """Every instance that a step concerned and that is to stay, in the order of their first mention."""
        gone = {each.instance for step in self.steps if step.kind == RETIRE for each in step.instances}
        every = dict.fromkeys(each.instance for step in self.steps for each in step.instances)
        return [each for each in every if each not in gone]

    def as_json(self) -> dict[str, Any]:
        return {
            "operation": self.id,
            "kind": self.kind,
            "outcome": self.outcome or None,
            "release": self.release,
            "seconds": self.seconds,
            "requests": None if self.served is None else {"served": self.served, "failed": self.failed},
            "error": None if self.blame is None else vars(self.blame) | {"line": self.blame.line()},
            "instances": self.instances,
        }


def operation_of(answer: dict[str, Any]) -> Operation:
    """From one entry of DescribeOperations."""
    requests = answer.get("Requests") or {}
    return Operation(
        id=answer["OperationId"],
        environment=answer.get("EnvironmentName", ""),
        kind=answer.get("Kind", ""),
        phase=answer["Phase"],
        outcome=answer.get("Outcome") or "",
        release=answer.get("Release"),
        previous=answer.get("PreviousRelease"),
        created_at=answer.get("CreatedAt"),
        finished_at=answer.get("FinishedAt"),
        blame=_blame(answer.get("Error") or {}),
        steps=tuple(_step(each) for each in answer.get("Steps", [])),
        served=requests.get("Served"),
        failed=requests.get("Failed"),
        notes=tuple(answer.get("Notes", [])),
    )


def _step(answer: dict[str, Any]) -> Step:
    instances = tuple(
        Progress(
            each.get("InstanceId", ""),
            each.get("State", "waiting"),
            each.get("Words", ""),
            each.get("Done", 0),
            each.get("Total", 0),
        )
        for each in answer.get("Instances", [])
    )
    words, state = answer.get("Words", ""), answer.get("State", "waiting")
    return Step(answer.get("Key", ""), words, state, instances, answer.get("Kind", ""))


def _blame(answer: dict[str, Any]) -> Blame | None:
    if not answer.get("Cause"):
        return None
    return Blame(
        cause=answer["Cause"],
        stage=answer.get("Stage", ""),
        instance=answer.get("Instance", ""),
        command=answer.get("Command", ""),
        exit_status=answer.get("ExitStatus"),
        last_lines=tuple(answer.get("LastLines", [])),
        remedy=answer.get("Remedy", ""),
    )
