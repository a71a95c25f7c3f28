"""Jobs: work that is started under a key, goes on without its caller, and whose result is kept on disk.

The same key never runs twice to an end; what the agent's death interrupted may be put again. Records hold no arguments,
which may be secret. Orders of an older epoch, or of another control plane, are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
import traceback
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional
from urllib.parse import quote

from . import durable
from .deadline import within
from .failure import JobFailure
from .fulldisk import REMEDY, is_full, words

KEPT = 200  # records
NAME_LIMIT = 150  # characters of a quoted key in a file name, which may have 255 bytes
PROGRESS_SECONDS = 0.2  # between two revisions for progress alone: faster than a person reads
CANCEL_SECONDS = 60.0  # for a cancelled job to clean up, before it is told again
RUNNING, SUCCEEDED, FAILED, CANCELLED = "running", "succeeded", "failed", "cancelled"
INTERRUPTED = "interrupted"  # it ran when an agent died; the same key may be put again


class Refused(Exception):
    """The order is not taken: `stale epoch`, `other store`, or the agent is about to end."""


class Job:
    """One job as its function sees it, and as a client sees it (`view`)."""

    def __init__(self, key: str, kind: str, arguments: Mapping[str, Any], mark: str, epoch: int) -> None:
        self.key = key
        self.kind = kind
        self.arguments = arguments
        self.mark = mark
        self.epoch = epoch
        self.state = RUNNING
        self.result: Optional[Dict[str, Any]] = None
        self.error: Optional[Dict[str, Any]] = None
        self.task: Optional["asyncio.Task[None]"] = None
        self.cancelled = False
        self.started_at = time.time()
        self.ended_at: Optional[float] = None
        self._progress: Dict[str, Any] = {"words": "", "done": 0, "total": 0}
        self._revision = 0
        self._revised_at = 0.0
        self._changed = asyncio.Event()

    def progress(self, words: str, done: int = 0, total: int = 0) -> None:
        """Tells those who wait how far it is. May be called often: what comes too fast is not passed on one by one."""
        fresh = words != self._progress["words"] or done == total
        self._progress = {"words": words, "done": done, "total": total}
        if fresh or time.monotonic() - self._revised_at >= PROGRESS_SECONDS:
            self.revise()

    def revise(self) -> None:
        self._revision += 1
        self._revised_at = time.monotonic()
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, seen: Optional[int], seconds: float) -> None:
        """Returns when the job has ended, when its revision is above `seen`, or after that time."""
        limit = time.monotonic() + seconds
        while self.state == RUNNING and (seen is None or self._revision <= seen):
            left = limit - time.monotonic()
            if left <= 0:
                return
            try:
                await within(left, self._changed.wait())
            except asyncio.TimeoutError:
                return

    def view(self) -> Dict[str, Any]:
        return {
            "key": self.key,
            "kind": self.kind,
            "state": self.state,
            "result": self.result,
            "error": self.error,
            "progress": self._progress,
            "revision": self._revision,
            "epoch": self.epoch,
            "mark": self.mark,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }


JobFunction = Callable[[Job], Awaitable[Dict[str, Any]]]


class Authority:
    """Whose orders are taken: one store's, and none of an epoch below the highest seen. Kept in store.json."""

    def __init__(self, home: Path, store: str, force: bool = False) -> None:
        """Refused when the home belongs to another store, unless `force`, which adopts it and forgets the epoch."""
        self._path = home / "store.json"
        known = durable.read_json(self._path)
        if known is not None and known["store"] != store and not force:
            raise Refused(f"this home belongs to another control plane (store {known['store']})")
        self.store = store
        self.epoch: int = known["epoch"] if known is not None and known["store"] == store else 0
        present = {"store": store, "epoch": self.epoch}
        if known != present:  # on a full disk, too, an agent must be able to start
            durable.write_json(self._path, present)

    def admit(self, store: str, epoch: int) -> None:
        """Refused for another store or an older epoch; remembers a newer one, durably, before it returns."""
        if store != self.store:
            raise Refused("other store")
        if epoch < self.epoch:
            raise Refused("stale epoch")
        if epoch > self.epoch:
            durable.write_json(self._path, {"store": store, "epoch": epoch})
            self.epoch = epoch


class Jobs:
    """The jobs of one home."""

    def __init__(
        self, home: Path, prefix: str, kinds: Mapping[str, JobFunction], report: Callable[[str], None]
    ) -> None:
        self._folder = home / "jobs"
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._prefix = prefix
        self._kinds = kinds
        self._report = report
        self._live: Dict[str, Job] = {}
        self._closing = False

    def interrupted(self) -> Dict[str, str]:
        """Marks of the jobs that an earlier agent left running, by key; what still bears such a mark is an orphan."""
        marks = {}
        for path in self._folder.glob("*.json"):
            record = durable.read_json(path)
            if record is not None and record["state"] == RUNNING:
                marks[str(record["key"])] = str(record["mark"])
                with contextlib.suppress(OSError):  # a full disk; `find` tells it as interrupted all the same
                    durable.write_json(path, {**record, "state": INTERRUPTED})
        return marks

    def put(self, key: str, kind: str, arguments: Mapping[str, Any], epoch: int) -> Dict[str, Any]:
        """Starts the job, or answers what is known of it. KeyError for an unknown kind, Refused when the agent ends.

        OSError when it cannot be written down: then it was not started and is not known, and may be put again.
        """
        if self._closing:
            raise Refused("this agent is about to end")
        function = self._kinds[kind]
        known = self.find(key)
        if known is not None and known["state"] != INTERRUPTED:
            return known
        job = Job(key, kind, arguments, f"{self._prefix}j-{os.urandom(8).hex()}", epoch)
        self._save(job)
        self._live[key] = job
        job.task = asyncio.get_running_loop().create_task(self._run(job, function))
        return job.view()

    def find(self, key: str) -> Optional[Dict[str, Any]]:
        live = self._live.get(key)
        if live is not None:
            return live.view()
        record = durable.read_json(self._path(key))
        if record is None:
            return None
        # What runs is live. This one was begun by an agent that died, or its beginning could not be made durable.
        return {**record, "state": INTERRUPTED} if record["state"] == RUNNING else dict(record)

    async def wait(self, key: str, seconds: float, seen: Optional[int]) -> Optional[Dict[str, Any]]:
        live = self._live.get(key)
        if live is not None:
            await live.changed(seen, seconds)
            return live.view()
        return self.find(key)

    async def cancel(self, key: str) -> Optional[Dict[str, Any]]:
        """Ends a running job and what it started. An ended one stays as it is."""
        live = self._live.get(key)
        if live is not None and live.task is not None:
            live.cancelled = True
            while not live.task.done():
                # Once more after a while: until Python 3.12 a cancellation that meets the end of a wait can be lost.
                live.task.cancel()
                await asyncio.wait([live.task], timeout=CANCEL_SECONDS)
            return live.view()
        return self.find(key)

    async def close(self) -> None:
        """Interrupts what runs; it is found as interrupted by the next agent."""
        self._closing = True
        tasks = [job.task for job in self._live.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, job: Job, function: JobFunction) -> None:
        try:
            job.result = await function(job)
            job.state = SUCCEEDED
        except JobFailure as failure:
            job.error, job.state = failure.record(), FAILED
        except asyncio.CancelledError:
            if not job.cancelled:
                raise  # the agent ends; the record says "running", which is how the next one knows
            job.state = CANCELLED
        except OSError as error:
            if is_full(error):
                job.error = JobFailure(job.kind, f"{job.kind} was not finished: {words(error)}", REMEDY).record()
            else:
                job.error = self._fault(job, error)
            job.state = FAILED
        except Exception as error:  # the boundary: a fault of ours fails the job with all that is known
            job.error, job.state = self._fault(job, error), FAILED
        job.ended_at = time.time()
        try:
            self._save(job)
            self._live.pop(job.key, None)
            self._prune()
        except OSError as error:  # a full disk, say: the outcome is known as long as this agent lives
            self._report(f"job {job.key} is {job.state}, which could not be written down: {error}")
        job.revise()

    def _fault(self, job: Job, error: Exception) -> Dict[str, Any]:
        self._report(f"job {job.key}\n{traceback.format_exc()}")
        message = f"the agent failed inside: {type(error).__name__}: {error}"
        return JobFailure(job.kind, message, "See agent.log on the instance.").record()

    def _save(self, job: Job) -> None:
        durable.write_json(self._path(job.key), job.view())

    def _prune(self) -> None:
        paths = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        live = {self._path(key) for key in self._live}
        for path in [path for path in paths if path not in live][:-KEPT]:
            path.unlink()

    def _path(self, key: str) -> Path:
        name = quote(key, safe="")
        if len(name) > NAME_LIMIT:
            name = f"{name[:NAME_LIMIT]}~{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        return self._folder / f"{name}.json"
