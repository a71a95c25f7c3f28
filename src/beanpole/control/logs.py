"""Collect logs of an environment's instances into the object store, where clients fetch them by a signed address."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import structlog

from beanpole.aws.errors import AwsError
from beanpole.control import errors
from beanpole.control.context import By, Control, the_environment
from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.store import environment_info, events, instances
from beanpole.store.environment_info import Sample
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from beanpole.fleet.fleet import Fleet
    from beanpole.store.environments import Environment

Kind = Literal["tail", "bundle"]

TAIL_LINES = 100
"""Lines of each file in a tail; what Elastic Beanstalk gives."""

TIMEOUT = 60.0
"""Seconds for an instance to hand over its logs; the EB CLI waits two minutes for all."""

DONE = "Pulled logs for environment instances."
FAILED = "Failed to pull logs for environment instances."

log = structlog.get_logger("logs")


class Logs:
    def __init__(self, control: Control, fleet: Fleet, loop: asyncio.AbstractEventLoop) -> None:
        self._control = control
        self._fleet = fleet
        self._loop = loop
        self._running: set[asyncio.Task[None]] = set()

    def request(self, by: By, kind: str, *, name: str | None, id_: str | None) -> None:
        """Begin to collect; events with the request's id tell when it is done. Callable from a worker thread."""
        if kind not in ("tail", "bundle"):
            raise errors.invalid(f"InfoType {kind} is not built: Beanpole gives tail and bundle.")
        control = self._control
        with control.database.write() as db:
            environment = the_environment(db, name=name, id_=id_)
            subject = Subject(environment.application, environment.id, environment.name, None, by.request_id)
            events.say(db, control.database.now_ms(), subject, "requestEnvironmentInfo is starting.")
        chosen: Kind = "tail" if kind == "tail" else "bundle"
        self._loop.call_soon_threadsafe(self._begin, environment, chosen, subject)

    def _begin(self, environment: Environment, kind: Kind, subject: Subject) -> None:
        task = asyncio.create_task(self._collect(environment, kind, subject))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a request for logs failed for a fault of ours", exc_info=fault)

    async def _collect(self, environment: Environment, kind: Kind, subject: Subject) -> None:
        with self._control.database.read() as db:
            ids = [instance.id for instance in instances.listed(db, environment.id)]
        found = await asyncio.gather(*(self._from(environment, kind, each) for each in ids), return_exceptions=True)
        failures = [_words(instance, outcome) for instance, outcome in zip(ids, found, strict=True)]
        database = self._control.database
        with database.write() as db:
            for problem in filter(None, failures):
                events.say(db, database.now_ms(), subject, problem, "WARN")
            # One closing sentence, after everything else: clients stop reading at it.
            if ids and all(failures):
                words = f"{FAILED} No instance handed them over."
                events.say(db, database.now_ms(), subject, words, "ERROR")
            else:
                events.say(db, database.now_ms(), subject, DONE)

    async def _from(self, environment: Environment, kind: Kind, instance: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            client = await self._fleet.client(instance)
            if kind == "tail":
                content, suffix, of = _text(await client.logs(TAIL_LINES)).encode(), "txt", "text/plain"
            else:
                content, suffix, of = await client.log_bundle(), "zip", "application/zip"
        await asyncio.to_thread(self._keep, environment, kind, instance, content, suffix, of)

    def _keep(self, environment: Environment, kind: Kind, instance: str, content: bytes, suffix: str, of: str) -> None:
        database = self._control.database
        now = database.now_ms()
        key = f"resources/environments/logs/{kind}/{environment.id}/{instance}/{kind}-{now}.{suffix}"
        # Users may empty and delete any bucket, this one too; clients make it again only when they upload.
        self._control.objects.create_bucket(self._control.bucket)
        self._control.objects.put(self._control.bucket, key, content, of)
        with database.write() as db:
            older = environment_info.put(db, Sample(environment.id, kind, instance, key, now))
        if older is not None:
            try:
                self._control.objects.delete(self._control.bucket, older)
            except AwsError as problem:
                log.info("an older log stays", key=older, reason=problem.message)


def _words(instance: str, outcome: BaseException | None) -> str | None:
    """What to tell of an instance; None when its logs are there."""
    match outcome:
        case None:
            return None
        case AgentError() | AgentWillNotStart() | TimeoutError():
            return f"[Instance: {instance}] The logs could not be read: {str(outcome) or 'no answer in time'}."
        case AwsError():
            return f"[Instance: {instance}] The logs could not be stored: {outcome.message}"
        case _:
            log.error("logs were not collected for a fault of ours", instance=instance, exc_info=outcome)
            return f"[Instance: {instance}] The logs could not be collected. Beanpole's own log says why."


def _text(files: list[dict[str, str]]) -> str:
    """Each file under a header of dashes, its name and dashes, as Elastic Beanstalk shows tails."""
    rule = "-" * 40
    return "".join(f"{rule}\n/var/log/{file['name']}\n{rule}\n{file['text']}\n\n" for file in files)
