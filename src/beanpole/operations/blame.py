"""What went wrong, in fields: which instance, which stage, which command, its last lines, and what to do next.

OperationEnded
├── StepFailed         a step did not do what it promises; carries a Blame
│   └── StepUnknown    nobody knows what it did: the instance does not answer
├── Aborted            somebody asked for it
└── DeadlinePassed     the operation took longer than it may
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Blame(msgspec.Struct, frozen=True, kw_only=True):
    """`cause` is one sentence without the instance; `remedy` is what a person can do about it."""

    stage: str
    cause: str
    remedy: str = ""
    instance: str = ""
    command: str = ""
    exit_status: int | None = None
    last_lines: tuple[str, ...] = ()

    def line(self) -> str:
        """Everything but the last lines, in one line."""
        where = f"[Instance: {self.instance}] " if self.instance else ""
        command = f" (command: {self.command})" if self.command else ""
        told = self.exit_status is None or "exit status" in self.cause
        status = "" if told else f" Exit status: {self.exit_status}."
        cause = self.cause if self.cause.endswith((".", "!", "?")) else f"{self.cause}."
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{where}{self.stage} failed: {cause}{command}{status}{remedy}"


def together(blames: Iterable[Blame], of: int) -> Blame:
    """One blame for several of so many instances, each with its own cause; those with the same cause share it."""
    blames = list(blames)
    if len(blames) == 1:
        return blames[0]
    causes = "; ".join(by_cause((blame.instance, blame.cause) for blame in blames))
    remedies = " ".join(dict.fromkeys(blame.remedy for blame in blames if blame.remedy))
    return Blame(stage=blames[0].stage, cause=f"on {len(blames)} of {of} instances. {causes}", remedy=remedies)


def by_cause(found: Iterable[tuple[str, str]]) -> list[str]:
    """`i-1, i-2: the disk is full`, from pairs of instance and cause."""
    names: dict[str, list[str]] = {}
    for instance, cause in found:
        names.setdefault(cause.rstrip("."), []).append(instance)
    return [f"{', '.join(several)}: {cause}" for cause, several in names.items()]


class OperationEnded(Exception):
    """Why the way forward ended. `blame` is what the user is told."""

    def __init__(self, blame: Blame) -> None:
        super().__init__(blame.line())
        self.blame = blame


class StepFailed(OperationEnded):
    pass


class StepUnknown(StepFailed):
    pass


class Aborted(OperationEnded):
    pass


class DeadlinePassed(OperationEnded):
    pass


def aborted() -> Blame:
    return Blame(stage="Update", cause="it was aborted by request")


def too_long() -> Blame:
    remedy = "Look at the events for the step that took so long; aws:elasticbeanstalk:command Timeout bounds commands."
    return Blame(stage="Update", cause="it took longer than an operation may take", remedy=remedy)


def gave_up(attempts: int) -> Blame:
    remedy = "Look at the control plane's log for what ended it."
    return Blame(
        stage="Update", cause=f"the control plane died {attempts - 1} times while it was under way", remedy=remedy
    )


def returned_too_often(attempts: int) -> Blame:
    remedy = "Look at the control plane's log for what ended it, then deploy again."
    cause = f"it was begun {attempts} times without an end and stops where it stands"
    return Blame(stage="Return", cause=cause, remedy=remedy)


def returned_too_long(seconds: float) -> Blame:
    remedy = "Look at the events for the instance that took so long, then deploy again."
    cause = f"it took longer than {seconds / 60:.0f} minutes and stops where it stands"
    return Blame(stage="Return", cause=cause, remedy=remedy)


def not_understood(problem: str) -> Blame:
    remedy = "It was planned by another version of Beanpole. Deploy again."
    return Blame(stage="Update", cause=f"its plan cannot be read: {problem}", remedy=remedy)
