"""One slot of one step: all that a handler sees and may do.

A handler checks before it acts and may be run again after any crash: its jobs have keys that the agent knows, its
changes to the database are upserts, and what it returns is journaled in one transaction with the events that it queued.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from beanpole.fleet.agent_client import AgentUnreachable, JobError, JobFailed, StaleEpoch
from beanpole.operations.blame import Blame, StepFailed, StepUnknown
from beanpole.operations.board import Board, Progress
from beanpole.store import instances
from beanpole.store.facts import raise_to
from beanpole.store.operations import LeaseLost, holding, journal_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import sqlalchemy as sa

    from beanpole.fleet.balancers import Balancers
    from beanpole.fleet.fleet import Fleet
    from beanpole.fleet.layers import Layers
    from beanpole.operations.release import Content
    from beanpole.options.registry import Registry
    from beanpole.options.settings import Settings
    from beanpole.policies.plan import AnyStep
    from beanpole.store.blobs import Blobs
    from beanpole.store.database import Database
    from beanpole.store.environments import Environment
    from beanpole.store.events import Severity
    from beanpole.store.operations import Operation


@dataclass(frozen=True)
class Parts:
    """What steps act on."""

    database: Database
    blobs: Blobs
    fleet: Fleet
    balancers: Balancers
    layers: Layers
    registry: Registry
    board: Board


@dataclass(frozen=True)
class Brought:
    """The release that a phase brings: the new one on the way forward, the old one on the way back."""

    number: int
    digest: str
    version_label: str
    content: Content
    settings: Settings


@dataclass
class Work:
    parts: Parts
    operation: Operation
    environment: Environment
    phase: str
    step: AnyStep
    slot: str
    instance: str
    """The instance that the slot stands for; '' until a Launch step has bound it."""
    brought: Brought | None
    """None where the environment has no release to bring."""
    alone: bool = False
    """Preflight found no room for two releases at once on the instance."""
    balancer_silent_until: int = 0
    """Milliseconds since 1970; what it was to be told before then it had not heard."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nobody here does the work any more, and the next claim takes it up: agents go on with it."""
    events: list[tuple[str, Severity]] = field(default_factory=list)

    @property
    def release(self) -> Brought:
        if self.brought is None:
            raise LookupError(f"step {self.step.key} of operation {self.operation.id} needs a release and has none")
        return self.brought

    @property
    def settings(self) -> Settings:
        return self.release.settings

    def say(self, message: str, severity: Severity = "INFO") -> None:
        """Queue an event; it is written with the journal entry of this slot."""
        self.events.append((message, severity))

    def progress(self, words: str, done: int = 0, total: int = 0) -> None:
        self.parts.board.put(self.operation.id, self.step.key, self.slot, Progress("running", words, done, total))

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """One transaction in which the lease is proven first."""
        return holding(self.parts.database, self.operation)

    def now(self) -> int:
        return self.parts.database.now_ms()

    def endpoints(self) -> list[instances.Endpoint]:
        with self.parts.database.read() as db:
            return instances.endpoints_of(db, self.instance)

    def noted(self, word: str) -> bool:
        """Whether a step of this phase that is done on this slot has the word in its result."""
        with self.parts.database.read() as db:
            journal = journal_of(db, self.operation.id)
        return any(
            word in result
            for key, result in journal.items()
            if key.startswith(f"{self.phase}/") and key.endswith(f"/{self.slot}")
        )

    async def job(
        self, kind: str, arguments: dict[str, Any], timeout: float, *, name: str = "", repeat: bool = True
    ) -> Any:
        """Have the instance's agent do a job and wait for its result; StepFailed says whom and what to blame.

        `timeout` is in seconds. `repeat=False`: a job that died with its agent is reported as failed, not done again.
        StepUnknown when the agent does not answer.
        """
        # With its time: where a backup was put back, agents remember another operation of the same number.
        operation = f"op{self.operation.id}.{self.operation.created_at}"
        key = "-".join(filter(None, (operation, self.phase, self.step.key, kind, name)))
        try:
            return await self.parts.fleet.job(
                self.instance,
                key,
                kind,
                arguments,
                epoch=self.operation.epoch,
                timeout=timeout,
                repeat=repeat,
                on_progress=lambda words, done, total: self.progress(words, done, total),
                goes_on=self.left.is_set,
            )
        except JobFailed as failure:
            raise StepFailed(self.blame_job(failure)) from failure
        except JobError as ended:
            raise self.failed(str(ended), "Whether the work was done is unknown. Deploy again.") from ended
        except StaleEpoch as newer:
            # A restored backup counts from where it was: the next claim of the operation has a number that counts.
            with self.parts.database.write() as db:
                raise_to(db, "epoch", int(newer.body.get("epoch", 0)))
            raise LeaseLost(f"instance {self.instance} takes orders of a newer lease") from newer
        except AgentUnreachable as silence:
            raise self.unknown(silence) from silence

    async def state(self) -> dict[str, Any]:
        """What runs on the instance."""
        try:
            return await self.parts.fleet.state(self.instance)
        except AgentUnreachable as silence:
            raise self.unknown(silence) from silence

    def blame_job(self, failure: JobFailed) -> Blame:
        return Blame(
            stage=failure.stage or type(self.step).__name__,
            cause=failure.message,
            remedy=failure.remedy,
            instance=self.instance,
            command=failure.command or "",
            exit_status=failure.exit_status,
            last_lines=tuple(failure.last_lines),
        )

    def failed(self, cause: str, remedy: str, last_lines: tuple[str, ...] = ()) -> StepFailed:
        stage = type(self.step).__name__
        blame = Blame(stage=stage, cause=cause, remedy=remedy, instance=self.instance, last_lines=last_lines)
        return StepFailed(blame)

    def unknown(self, silence: AgentUnreachable) -> StepUnknown:
        blame = self.failed(
            f"the agent of the instance does not answer: {silence}",
            "Whether the work was done is unknown. Look at the instance; it is brought into line when it answers.",
        ).blame
        return StepUnknown(blame)


class Handler(Protocol):
    async def __call__(self, work: Work) -> dict[str, Any]:
        """Do the work of one slot; the result is journaled."""
        ...
