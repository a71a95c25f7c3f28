"""The engine: claims operations, carries out their stored plans step by step, and turns back when that fails.

Whatever happens to this process, the operation is continued by the next one that claims it: what is in the journal is
not done again, what is not is checked and done. The way forward ends in a return when a step fails, when an abort is
heard, when the deadline has passed, or when the plan cannot be understood. The return has no way to fail as a whole: an
instance that cannot follow is named and left out of rotation.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import OperationalError

from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.operations import blame
from beanpole.operations.blame import Aborted, DeadlinePassed, OperationEnded
from beanpole.operations.closing import Closing
from beanpole.operations.lease import TTL, Lease
from beanpole.operations.phase import Phase
from beanpole.policies import plan as plans
from beanpole.store import operations
from beanpole.store.operations import LeaseLost, holding

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.operations.work import Parts
    from beanpole.store.operations import Operation

POLL = 2.0
"""Seconds between looks for operations that another process submitted, or whose holder died."""

ATTEMPTS = 5
"""Claims of one operation on its way forward; after that many crashes it is returned from."""

RETURN_ATTEMPTS = 50
"""Claims of one operation altogether, after which it is closed where it stands: an environment must not stay busy for
ever. A return is worth more attempts than a way forward."""

STORE_AGAIN = 0.5
"""Seconds between tries to write to a store that does not answer."""

STORE_PAUSE = 5.0
"""Seconds more, for each time that an operation was claimed before, until one that met such a store is let go: a store
that comes and goes must not use up its attempts in a moment. The first time it is taken up again at once."""

RETURN_LIMIT = 1800.0
"""Seconds for the way back. Each of its jobs has a shorter limit of its own; this one bounds their sum."""

log = structlog.get_logger("engine")


class Engine:
    """Carries out the operations of one store.

    `owner` is this process's name, the same after a restart; `ended` is called whenever an operation is no longer ours.
    """

    def __init__(self, parts: Parts, owner: str, ended: Callable[[], None] = lambda: None) -> None:
        self._parts = parts
        self._owner = owner
        self._tell_ended = ended
        self._closing = Closing(parts)
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], str] = {}

    def wake(self) -> None:
        """An operation was submitted, or an abort asked for: look now. Call it from the event loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled; then every operation is let go for the next process to continue."""
        await asyncio.to_thread(operations.expire_leases_of, self._parts.database, self._owner)
        try:
            while True:
                self._woken.clear()
                while (held := await self._claim()) is not None:
                    former = [task for task, of in self._running.items() if of == held.environment_id]
                    task = asyncio.create_task(self._follow(former, held), name=f"operation {held.id}")
                    self._running[task] = held.environment_id
                    task.add_done_callback(self._ended)
                # Not wait_for: until Python 3.12 it forgets a cancellation that comes with the event.
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._woken.wait()
        finally:
            # A migration that is half done must not be cut off because the control plane is restarted.
            self._parts.fleet.let_go()
            await _end(*self._running)

    async def _follow(self, former: list[asyncio.Task[None]], held: Operation) -> None:
        """What was closed from outside (by a termination) ends before its successor begins."""
        await _end(*former)
        await self._carry_out(held)

    async def _claim(self) -> Operation | None:
        try:
            return await asyncio.to_thread(operations.claim, self._parts.database, self._owner, int(TTL * 1000))
        except OperationalError as problem:
            # Of the moment: the operations that run have leases of their own to judge by.
            log.warning("the database cannot be asked for operations", problem=str(problem))
            return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._woken.set()
        self._tell_ended()
        if not task.cancelled() and (problem := task.exception()) is not None:
            # The lease runs out and the operation is claimed again; ATTEMPTS bounds how often.
            log.error("operation stopped unexpectedly", task=task.get_name(), exc_info=problem)

    async def _carry_out(self, held: Operation) -> None:
        log.info("operation claimed", operation=held.id, kind=held.kind, phase=held.phase, attempt=held.attempts)
        try:
            async with Lease(self._parts.database, held) as lease:
                await self._count(held, "begin")
                if held.phase == "forward":
                    ended = await self._forward(held, lease)
                    if ended is None:
                        return
                    held = await self._closing.turn(held, ended)
                if held.phase == "return":
                    await self._return(held, lease)
        except LeaseLost:
            log.warning("another process holds the operation now", operation=held.id)
            await self._let_go(held)
        except OperationalError as problem:
            # Of the moment: what is in the journal is known to the next claim, and agents tell what is not.
            log.warning(
                "the database does not answer; the operation is let go", operation=held.id, problem=str(problem)
            )
            await asyncio.sleep(min(STORE_PAUSE * (held.attempts - 1), TTL))
            await self._let_go(held)
        except asyncio.CancelledError:
            with suppress(OperationalError):
                await asyncio.to_thread(operations.release_lease, self._parts.database, held)
            raise
        finally:
            self._parts.board.forget(held.id)

    async def _let_go(self, held: Operation) -> None:
        """The next claim need not wait for the lease to run out. If it is another process's by now, nothing happens."""
        loop = asyncio.get_running_loop()
        until = loop.time() + TTL
        while loop.time() < until:
            try:
                await asyncio.to_thread(operations.release_lease, self._parts.database, held)
            except OperationalError:
                await asyncio.sleep(STORE_AGAIN)
            else:
                return

    async def _forward(self, held: Operation, lease: Lease) -> OperationEnded | None:
        """None when the operation is closed as succeeded; else why it has to return.

        Once instances are being retired nothing leads back: then it succeeds, with whatever is left to be removed.
        """
        ended = await self._carried(held, lease)
        if ended is not None and not await asyncio.to_thread(self._committed, held):
            return ended
        await self._count(held, "end")
        if await self._closing.succeeded(held, unfinished=ended.blame if ended is not None else None):
            return None
        return Aborted(blame.aborted())

    async def _carried(self, held: Operation, lease: Lease) -> OperationEnded | None:
        """None when all of the plan is done; else what ended it."""
        try:
            if held.attempts > (RETURN_ATTEMPTS if held.committed else ATTEMPTS):
                raise OperationEnded(blame.gave_up(held.attempts))
            phase = Phase(self._parts, held, "forward", plans.decode(held.plan))
            left = (held.deadline_at - self._parts.database.now_ms()) / 1000
            await _race(phase, lease, left, abortable=True)
        except plans.UnknownPlan as problem:
            return OperationEnded(blame.not_understood(str(problem)))
        except OperationEnded as ended:
            return ended
        return None

    def _committed(self, held: Operation) -> bool:
        with self._parts.database.read() as db:
            now = operations.find(db, held.id)
        return now is not None and now.committed

    async def _return(self, held: Operation, lease: Lease) -> None:
        unfinished = None
        if held.attempts > RETURN_ATTEMPTS:
            unfinished = blame.returned_too_often(held.attempts - 1)
        else:
            phase = Phase(self._parts, held, "return", plans.decode(held.return_plan or ""))
            try:
                await _race(phase, lease, RETURN_LIMIT, abortable=False)
            except DeadlinePassed:
                unfinished = blame.returned_too_long(RETURN_LIMIT)
        await self._count(held, "end")
        await self._closing.returned(held, unfinished)

    async def _count(self, held: Operation, moment: str) -> None:
        """Note the balancer's counts once, so that requests served and failed meanwhile can be told."""
        key = f"requests/{moment}"
        with self._parts.database.read() as db:
            if key in operations.journal_of(db, held.id):
                return
        try:
            counts = await self._parts.balancers.totals(held.environment_id)
        except (AgentError, AgentWillNotStart):
            return  # not counted, which is what the user is told
        with holding(self._parts.database, held) as db:
            operations.record(db, held, self._parts.database.now_ms(), key, counts)


async def _race(phase: Phase, lease: Lease, left: float, *, abortable: bool) -> None:
    """Do its work unless the lease is lost, an abort is heard or `left` seconds are over; then it is cancelled."""
    task = asyncio.create_task(phase.run())
    lost = asyncio.create_task(lease.lost.wait())
    aborted = asyncio.create_task(lease.aborted.wait() if abortable else asyncio.Event().wait())
    waiting = {task, lost, aborted}
    try:
        await asyncio.wait(waiting, timeout=max(left, 0.0), return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            phase.left.set()
            raise LeaseLost("the heartbeat lost the lease")
        if aborted.done():
            raise Aborted(blame.aborted())
        if task.done():
            await task
        else:
            raise DeadlinePassed(blame.too_long())
    finally:
        await _end(*waiting)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
