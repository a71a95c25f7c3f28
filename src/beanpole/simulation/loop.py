"""An event loop in virtual time: when nothing is ready, the clock jumps to the next timer. No thread, no selector.

What is run, and in which order, depends on nothing but what the program does, so that one seed gives one history. Work
belongs to a process (`Process`): one that is stopped runs nothing until it goes on, one that was killed nothing more.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

THREAD = 0.002
"""Seconds at most that a thread of the pool needs for what it is given."""

EMPTY = contextvars.Context()


class Deadlock(Exception):
    """Something is waited for that nothing will ever bring about."""


class Process:
    """A process in the sense of an operating system: whose code runs, stands still, or never runs again."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self.random = Random(f"{name}/{seed}")
        self.frozen = False
        self.dead = False
        self.backlog: list[_Handle] = []
        self.tasks: set[asyncio.Task[Any]] = set()


_process: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class _Handle:
    """A callback that was scheduled; may be cancelled until it runs."""

    __slots__ = ("_args", "_call", "_context", "cancelled_", "process", "time")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context) -> None:
        self._call, self._args, self._context = call, args, context
        self.process = context.get(_process)
        self.cancelled_ = False
        self.time = 0.0

    def cancel(self) -> None:
        self.cancelled_ = True

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.time

    def run(self) -> None:
        self._context.run(self._call, *self._args)


class _Task(asyncio.Task[Any]):
    """Sets of tasks, which asyncio keeps, are gone through in an order that does not depend on addresses."""

    def __init__(self, number: int, work: Any, **options: Any) -> None:
        self.number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.AbstractEventLoop):
    """`begin`: seconds since 1970 at which it begins."""

    def __init__(self, begin: float = 1_800_000_000.0) -> None:
        self._begin = begin
        self._now = 0.0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._count = 0
        self.world = Process("the world")
        """To which belongs what no other process has begun. It never stands still."""
        self.faults: list[BaseException] = []
        """Exceptions that ended tasks of the world, or that nobody looked at."""

    # Time

    def time(self) -> float:
        return self._now

    def clock(self) -> float:
        """Seconds since 1970."""
        return self._begin + self._now

    # What asyncio asks of a loop

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    # The handles are not asyncio's, which know no process.

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = _Handle(callback, args, context if context is not None else contextvars.copy_context())
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_at(self._now + max(delay, 0.0), callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = _Handle(callback, args, context if context is not None else contextvars.copy_context())
        handle.time = when
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        self._count += 1
        task = _Task(self._count, coro, loop=self, name=name or "", context=context)
        process = _process.get(self.world) if context is None else context.get(_process, self.world)
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard, context=EMPTY)
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """In no thread, but a little later; so much later that others may come first. A thread that has begun goes on
        although whoever waited for it was cancelled."""
        future = self.create_future()
        process = _process.get(self.world)
        begun = process.random.random() < 0.5

        def run() -> None:
            if future.cancelled() and not begun:
                return
            try:
                result = func(*args)
            except BaseException as problem:
                if not future.done():
                    future.set_exception(problem)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(process.random.random() * THREAD, run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if isinstance(problem := context.get("exception"), Exception):
            self.faults.append(problem)

    async def shutdown_asyncgens(self) -> None:
        pass

    # Processes

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """A task of that process; what it begins belongs to the process, too."""
        context = contextvars.Context()
        context.run(_process.set, process)
        task = self.create_task(work, name=name, context=context)
        if process is self.world:
            task.add_done_callback(self._look, context=EMPTY)
        return task

    def _look(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.faults.append(problem)

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        """What should have happened meanwhile happens now, in its order."""
        process.frozen = False
        self._ready.extend(process.backlog)
        process.backlog.clear()

    def kill(self, process: Process) -> None:
        """Its tasks end without any effect: whatever it could have reached must refuse it from now on (`dead`)."""
        process.dead = True
        self.thaw(process)
        for task in sorted(process.tasks, key=hash):
            task.cancel()

    # Running

    def run_until(self, done: Callable[[], bool], limit: float = float("inf")) -> bool:
        """Run until `done`, which is asked after every callback, or until that time; whether it is done."""
        asyncio._set_running_loop(self)
        try:
            return self._run(done, limit)
        finally:
            asyncio._set_running_loop(None)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of the work, which the world does. Deadlock when it waits for what will not come."""
        task = self.spawn(self.world, work)
        if not self.run_until(task.done):
            raise Deadlock(task.get_name())
        return task.result()

    def _run(self, done: Callable[[], bool], limit: float) -> bool:
        ready, timers = self._ready, self._timers
        while not done():
            if not ready:
                while timers and timers[0][2].cancelled_:
                    heapq.heappop(timers)
                if not timers or timers[0][0] > limit:
                    self._now = max(self._now, min(limit, timers[0][0]) if timers else self._now)
                    return done()
                self._now = max(self._now, timers[0][0])
                while timers and timers[0][0] <= self._now:
                    ready.append(heapq.heappop(timers)[2])
            handle = ready.popleft()
            if handle.cancelled_:
                continue
            if handle.process is not None and handle.process.frozen:
                handle.process.backlog.append(handle)
                continue
            handle.run()
        return True
