"""How an operation ended: a sentence, JSON, an exit status. The same for every command that begins one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import CommandFailed
from beanpole.cli.follow import follow
from beanpole.cli.screen import screen_on

if TYPE_CHECKING:
    from beanpole.cli.client import Api
    from beanpole.cli.operation import Operation
    from beanpole.cli.terminal import Terminal


@dataclass(frozen=True)
class Change:
    """What was begun, in words: `title` while it goes on, `success` when it came about, `noun` when it did not."""

    environment: str
    request_id: str
    title: str
    success: str
    noun: str
    facts: dict[str, Any] = field(default_factory=dict)
    """Goes into the JSON document."""
    wanted: str = "succeeded"
    """The outcome that counts as success."""
    counts_instances: bool = False
    """Whether `success` says already how many there are."""


def carry_through(api: Api, terminal: Terminal, change: Change, limit: float) -> Operation | None:
    """Follow the change and say how it ended. Raises CommandFailed when it did not come about."""
    operation = followed(api, terminal, change, limit)
    facts = {"environment": change.environment, **change.facts}
    terminal.result(facts | (operation.as_json() if operation else {"outcome": "succeeded"}))
    concluded(terminal, change, operation)
    return operation


def followed(api: Api, terminal: Terminal, change: Change, limit: float) -> Operation | None:
    """The change when it is over, however it ended; None where there was nothing to do."""
    with screen_on(terminal, change.title) as screen:
        return follow(api, change.environment, change.request_id, screen, limit)


def concluded(terminal: Terminal, change: Change, operation: Operation | None) -> None:
    """Say that it came about. Raises CommandFailed when it did not."""
    if operation is not None and operation.outcome != change.wanted:
        raise failure(change, operation)
    terminal.say(terminal.styled(summary(change, operation), "green"))


def summary(change: Change, operation: Operation | None) -> str:
    """`shop-dev runs app-2 (release 7) on 3 instances, after 4.2 s. Meanwhile 1,204 requests were served, 0 failed.`"""
    if operation is None:
        return f"{change.success}; there was nothing to do."
    release, where = "", ""
    if operation.kind not in ("terminate", "swap") and operation.outcome == "succeeded":
        count = len(operation.instances)
        release = f" (release {operation.release})" if operation.release is not None else ""
        where = f" on {count} instance{'s' if count > 1 else ''}" if count and not change.counts_instances else ""
    after = f", after {operation.seconds:.1f} s" if operation.seconds is not None else ""
    return f"{change.success}{release}{where}{after}.{requests(operation)}"


def requests(operation: Operation) -> str:
    """What users noticed; '' where nobody counted."""
    if operation.served is None:
        return ""
    if not operation.served and not operation.failed:
        return " Meanwhile no request came."
    return f" Meanwhile {operation.served:,} requests were served, {operation.failed or 0:,} failed."


def failure(change: Change, operation: Operation) -> CommandFailed:
    if operation.outcome == "succeeded":
        return CommandFailed(f"The operation on {change.environment} had come about before it could be stopped.")
    if operation.outcome == "aborted":
        back = "" if operation.kind in ("create", "terminate") else " and the environment is as it was before"
        return CommandFailed(f"The {change.noun} of {change.environment} was aborted{back}.{requests(operation)}")
    cause = operation.blame.line() if operation.blame else "It did not say why."
    remedy = operation.blame.remedy if operation.blame and operation.blame.remedy else ""
    remedy = remedy or f"Look at `beanpole events {change.environment}` and `beanpole logs {change.environment}`."
    return CommandFailed(f"The {change.noun} of {change.environment} failed. {cause}{requests(operation)}", remedy)
