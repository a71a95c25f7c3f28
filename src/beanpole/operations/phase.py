"""One phase of an operation, forward or return: its plan's steps in order, the slots of each step in parallel.

Journal keys are `PHASE/STEP/begin` and `PHASE/STEP/SLOT`. An entry and the events that belong to it are written in one
transaction, so that a restart repeats neither work nor words.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy.exc import OperationalError

from beanpole.balancer.lint import BadPools
from beanpole.fleet.agent_client import AgentError, AgentUnreachable
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.fleet.proxy import BalancerUnreachable
from beanpole.operations.blame import Aborted, Blame, StepFailed, StepUnknown, aborted, together
from beanpole.operations.board import Progress
from beanpole.operations.brought import brought
from beanpole.operations.slots import instance_of
from beanpole.operations.steps import HANDLERS
from beanpole.operations.steps.exclude import leave_rotation_of
from beanpole.operations.words import begin_events, end_events
from beanpole.operations.work import Work
from beanpole.policies.change import floor
from beanpole.policies.plan import After, Drain, Fetch, Once, Preflight, Register, Retire, Shift, Smoke, Watch
from beanpole.store import environments, events, instances, operations
from beanpole.store.operations import LeaseLost, holding, journal_of, record

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from beanpole.operations.work import Parts
    from beanpole.policies.plan import AnyStep, Plan
    from beanpole.store.environments import Release
    from beanpole.store.events import Said, Severity
    from beanpole.store.operations import Operation

BALANCER_PATIENCE = 60.0
"""Seconds for which a balancer that does not answer is waited for on the way forward: it is made anew in less. The way
back waits for as long as it may take at all, since nothing can be put right without it."""

BALANCER_AGAIN = 0.5
"""Seconds between tries."""

BALANCER_REMEDY = "Look at the balancer's machine and at the control plane's log, then deploy again."

log = structlog.get_logger("engine")


class Phase:
    def __init__(self, parts: Parts, held: Operation, name: str, plan: Plan) -> None:
        self._parts = parts
        self._held = held
        self._name = name
        self._plan = plan
        self._unfinished: set[str] = set()
        self._silent: set[str] = set()
        self._refused: dict[str, StepFailed] = {}
        self.left = asyncio.Event()
        """Set when the work ends here without an outcome: what agents are doing is not to be cancelled."""
        with parts.database.read() as db:
            environment = environments.find(db, held.environment_id)
            if environment is None:
                raise LookupError(f"operation {held.id} of an unknown environment {held.environment_id}")
            self._environment = environment
            self._journal = journal_of(db, held.id)
            number = held.release if name == "forward" else held.previous
            before = environments.find_release(db, held.environment_id, held.previous)
            self._brought = brought(db, self._parts.registry, held.environment_id, number)
        self._new_version = self._brought is not None and (
            before is None or before.version_label != self._brought.version_label
        )
        self.subject = events.Subject(
            environment.application,
            environment.id,
            environment.name,
            self._brought.version_label if self._brought else None,
            held.request_id,
        )

    async def run(self) -> None:
        """Carry out what the journal does not have yet. Raises StepFailed on the way forward only."""
        for step in self._plan.steps:
            await self._begin(step)
            slots = (self._leader(step),) if isinstance(step, Once | Smoke) else step.slots
            todo = [slot for slot in slots if f"{self._name}/{step.key}/{slot}" not in self._journal]
            self._unfinished = set(todo)
            # A task group, so that one slot's failure ends the work on its siblings before the return starts.
            try:
                async with asyncio.TaskGroup() as group:
                    for slot in todo:
                        group.create_task(self._or_leave(step, slot))
            except BaseExceptionGroup as failures:
                raise _worst(failures) from failures
            if self._refused:
                blames = [self._refused[slot].blame for slot in todo if slot in self._refused]
                raise StepFailed(together(blames, len(slots)))

    async def _begin(self, step: AnyStep) -> None:
        key = f"{self._name}/{step.key}/begin"
        if key not in self._journal:
            also = (lambda db: self._commit(db, step)) if isinstance(step, Retire) else None
            await self._write(key, {}, self._words(step), also)

    def _commit(self, db: sa.Connection, step: Retire) -> None:
        """There is no way back from now on, whatever happens: whoever counts the fleet sees these instances go.

        Raises Aborted, and nothing is written, when an abort came first.
        """
        if not operations.commit(db, self._held):
            raise Aborted(aborted())
        for instance_id in step.slots:
            instances.update(db, instance_id, state="terminating")

    def _words(self, step: AnyStep) -> list[Said]:
        of = step.to if isinstance(step, Shift | Watch) else step.slots
        names = self._names(of)
        return begin_events(step, names, self._held, self._plan, new_version=self._new_version)

    async def _or_leave(self, step: AnyStep, slot: str) -> None:
        """Before its siblings are cancelled they know whether the work on them goes on elsewhere."""
        try:
            await self._slot(step, slot)
        except (LeaseLost, OperationalError):
            self.left.set()
            raise

    async def _slot(self, step: AnyStep, slot: str) -> None:
        board, held = self._parts.board, self._held
        if self._left_behind(slot):
            return
        bound, alone = instance_of(self._journal, slot), self._alone(slot)
        where = (step, slot, bound, self._brought, alone)
        work = Work(self._parts, held, self._environment, self._name, *where, left=self.left)
        board.put(held.id, step.key, slot, Progress("running"))
        try:
            result = await self._handled(work)
        except StepFailed as failure:
            board.put(held.id, step.key, slot, Progress("failed", failure.blame.cause))
            if isinstance(step, Retire):
                await self._retire_later(work, failure)
                return
            if self._name == "return" or self._may_go_on_without(step, slot, failure):
                await self._leave_behind(work, step, slot, failure)
                return
            if isinstance(step, Preflight):
                # The others are looked at all the same: who has to make room wants to know where.
                self._refused[slot] = failure
                return
            if not isinstance(step, Drain):
                raise
            # Everything has passed everywhere: what of the old release cannot be stopped is no reason to go back to it.
            work.say(f"{failure.blame.line()} The release serves; the next deployment tries again.", "WARN")
            result = {"undrained": msgspec.to_builtins(failure.blame)}
        self._unfinished.discard(slot)
        last = [] if self._unfinished else end_events(step, held, self._plan)
        await self._write(f"{self._name}/{step.key}/{slot}", result, [*work.events, *last])
        board.put(held.id, step.key, slot, Progress("done"))

    async def _handled(self, work: Work) -> dict[str, Any]:
        """What the step's handler gives. Whatever it raises, of the moment or for a fault of ours, is blamed."""
        try:
            return await self._with_balancer(work)
        except BalancerUnreachable as silence:
            blame = Blame(stage=type(work.step).__name__, cause=str(silence), remedy=BALANCER_REMEDY)
            raise StepFailed(blame) from silence
        except (StepFailed, LeaseLost, OperationalError):
            raise
        except AgentUnreachable as silence:
            raise work.unknown(silence) from silence
        except (AgentError, AgentWillNotStart, BadPools, OSError) as problem:
            remedy = getattr(problem, "remedy", "Look at the control plane's log.")
            raise work.failed(str(problem) or type(problem).__name__, remedy) from problem
        except Exception as fault:
            log.exception("a step failed for a fault of ours", operation=self._held.id, step=work.step.key)
            cause = f"a fault of Beanpole's: {type(fault).__name__}: {fault}"
            raise work.failed(cause, "The control plane's log has the details. Please report it.") from fault

    async def _with_balancer(self, work: Work) -> dict[str, Any]:
        """Done once more after the balancer did not answer, as after a restart: no instance is to blame for that."""
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            try:
                return await HANDLERS[type(work.step)](work)
            except BalancerUnreachable:
                since = loop.time() if since is None else since
                if self._name == "forward" and loop.time() - since >= BALANCER_PATIENCE:
                    raise
            work.events.clear()
            work.progress("waiting for the balancer")
            await asyncio.sleep(BALANCER_AGAIN)
            work.balancer_silent_until = work.now()

    def _leader(self, step: Once | Smoke) -> str:
        """The first instance that has not been left behind when the step begins; the same one after a restart."""
        arrived = next((other.slots for other in self._plan.steps if isinstance(other, Fetch)), step.slots)
        tried = (slot for slot in arrived if f"{self._name}/{step.key}/{slot}" in self._journal)
        here = (slot for slot in arrived if not self._left_behind(slot))
        return next(tried, next(here, step.slots[0]))

    def _may_go_on_without(self, step: AnyStep, slot: str, failure: StepFailed) -> bool:
        """Whether the others go forward although it is unknown what this instance did: enough of them are left.

        Not where the answer matters to all: nobody knows whether the leader's commands ran. Nor where another one has
        no room for the release: then nobody goes forward.
        """
        if not isinstance(failure, StepUnknown) or isinstance(step, Once) or slot.startswith("new-") or self._refused:
            return False
        theirs = (other.slots for other in self._plan.steps if not isinstance(other, After))
        everyone = {each for slots in theirs for each in slots if not each.startswith("new-")}
        left = {each for each in everyone if self._left_behind(each)} | self._silent | {slot}
        if len(everyone) - len(left) < floor(len(everyone)):
            return False
        self._silent.add(slot)
        return True

    async def _retire_later(self, work: Work, failure: StepFailed) -> None:
        """It counts no more, gets no requests, and is removed when it can be: see reconcile/alignment.py."""
        self._unfinished.discard(work.slot)
        words = f"{failure.blame.line()} It gets no new requests and is removed later."
        key = f"{self._name}/{work.step.key}/{work.slot}"
        await self._write(key, {"later": msgspec.to_builtins(failure.blame)}, [*work.events, (words, "WARN")])
        self._parts.board.put(self._held.id, work.step.key, work.slot, Progress("done"))

    async def _leave_behind(self, work: Work, step: AnyStep, slot: str, failure: StepFailed) -> None:
        """This instance gets no requests, and the others go on without it.

        One that serves the release already goes on serving: something else on it could not be stopped.
        """
        goal = work.release.digest if isinstance(step, Drain | Register) else None
        serves = any(each.digest == goal and each.state == "serving" for each in work.endpoints())
        stands = "It is out of rotation until it can follow."
        unknown = isinstance(failure, StepUnknown)
        proven = self._proven(work) if not unknown else None
        if serves:
            stands = f"It serves release {work.release.number}."
            with work.writing() as db:
                instances.drain(db, work.now(), work.instance, keep=goal)
        elif proven is not None:
            if not leave_rotation_of(work, least=floor(self._environment.desired), keep=proven.digest):
                stands = f"It goes on with release {proven.number}, because too few others serve."
        elif not leave_rotation_of(work, least=int(unknown)):
            stands = "It goes on getting requests, because no other instance serves."
        try:
            await self._parts.balancers.apply()
        except (AgentError, AgentWillNotStart) as problem:
            log.warning("the balancer is told later", operation=self._held.id, problem=str(problem))
        words = f"{failure.blame.line()} {stands}"
        result = {"behind": msgspec.to_builtins(failure.blame), "unknown": unknown}
        await self._write(f"{self._name}/{step.key}/{slot}", result, [*work.events, (words, "ERROR")])

    def _proven(self, work: Work) -> Release | None:
        """Another release than this phase's that passed on the instance and still gets its requests; None for none."""
        with self._parts.database.read() as db:
            instance = instances.find(db, work.instance)
            if instance is None:
                return None
            release = environments.find_release(db, self._environment.id, instance.release)
            serving = {each.digest for each in instances.endpoints_of(db, work.instance) if each.state == "serving"}
        other = release is not None and (work.brought is None or release.digest != work.brought.digest)
        return release if release is not None and other and release.digest in serving else None

    async def _write(
        self,
        key: str,
        result: dict[str, Any],
        said: list[tuple[str, Severity]],
        also: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        """`also`: what happens in the same transaction, or keeps all of it from happening."""
        await asyncio.to_thread(self._write_now, key, result, said, also)

    def _write_now(
        self,
        key: str,
        result: dict[str, Any],
        said: list[tuple[str, Severity]],
        also: Callable[[sa.Connection], None] | None,
    ) -> None:
        database = self._parts.database
        with holding(database, self._held) as db:
            if also is not None:
                also(db)
            record(db, self._held, database.now_ms(), key, result)
            for message, severity in said:
                events.say(db, database.now_ms(), self.subject, message, severity)
        self._journal[key] = result

    def _names(self, slots: tuple[str, ...]) -> list[str]:
        return [instance_of(self._journal, slot) or slot for slot in slots]

    def _alone(self, slot: str) -> bool:
        """Whether preflight found that two releases cannot run there at once; that holds for the way back as well."""
        return any("alone" in result for key, result in self._journal.items() if key.endswith(f"preflight/{slot}"))

    def _left_behind(self, slot: str) -> bool:
        return any("behind" in result for key, result in self._journal.items() if key.endswith(f"/{slot}") and result)


def _worst(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ends the operation here; else the first failure, which says of the others that it had not ended yet."""
    found = _flat(failures)
    blamed = [each for each in found if isinstance(each, StepFailed)]
    if len(blamed) < len(found):
        return next(each for each in found if not isinstance(each, StepFailed))
    first, *others = blamed
    # What failed before anything was sent is no instance's fault, and the same for all of them.
    names = ", ".join(other.blame.instance for other in others if other.blame.instance)
    if not names:
        return first
    also = f"{first.blame.cause} ({names} failed in the same step)"
    return StepFailed(msgspec.structs.replace(first.blame, cause=also))


def _flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _flat(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
