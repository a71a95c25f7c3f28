"""Collect logs of an environment's instances into the object store, where clients fetch them by a signed address."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from beanpole.control import errors
from beanpole.control.context import By, Control, the_environment
from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.store import environment_info, events, instances
from beanpole.store.environment_info import Sample
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from beanpole.fleet.local import LocalFleet
    from beanpole.store.environments import Environment

Kind = Literal["tail", "bundle"]

TAIL_LINES = 100
"""Lines of each file in a tail; what Elastic Beanstalk gives."""

TIMEOUT = 60.0
"""Seconds for an instance to hand over its logs; the EB CLI waits two minutes for all."""

DONE = "Pulled logs for environment instances."


class Logs:
    def __init__(self, control: Control, fleet: LocalFleet, loop: asyncio.AbstractEventLoop) -> None:
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
        task.add_done_callback(self._running.discard)

    async def _collect(self, environment: Environment, kind: Kind, subject: Subject) -> None:
        with self._control.database.read() as db:
            ids = [instance.id for instance in instances.listed(db, environment.id)]
        failures = await asyncio.gather(*(self._from(environment, kind, instance) for instance in ids))
        database = self._control.database
        with database.write() as db:
            for problem in filter(None, failures):
                events.say(db, database.now_ms(), subject, problem, "WARN")
            # One closing sentence, after everything else: clients stop reading at it.
            if ids and all(failures):
                words = "Failed to pull logs for environment instances. No instance could be reached."
                events.say(db, database.now_ms(), subject, words, "ERROR")
            else:
                events.say(db, database.now_ms(), subject, DONE)

    async def _from(self, environment: Environment, kind: Kind, instance: str) -> str | None:
        """None when it worked, else what to tell."""
        try:
            async with asyncio.timeout(TIMEOUT):
                client = await self._fleet.client(instance)
                if kind == "tail":
                    content, suffix, of = _text(await client.logs(TAIL_LINES)).encode(), "txt", "text/plain"
                else:
                    content, suffix, of = await client.log_bundle(), "zip", "application/zip"
        except (AgentUnreachable, TimeoutError) as problem:
            return f"[Instance: {instance}] The logs could not be read: {problem or 'no answer in time'}."
        await asyncio.to_thread(self._keep, environment, kind, instance, content, suffix, of)
        return None

    def _keep(self, environment: Environment, kind: Kind, instance: str, content: bytes, suffix: str, of: str) -> None:
        database = self._control.database
        now = database.now_ms()
        key = f"resources/environments/logs/{kind}/{environment.id}/{instance}/{kind}-{now}.{suffix}"
        self._control.objects.put(self._control.bucket, key, content, of)
        with database.write() as db:
            older = environment_info.put(db, Sample(environment.id, kind, instance, key, now))
        if older is not None:
            self._control.objects.delete(self._control.bucket, older)


def _text(files: list[dict[str, str]]) -> str:
    """Each file under a header of dashes, its name and dashes, as Elastic Beanstalk shows tails."""
    rule = "-" * 40
    return "".join(f"{rule}\n/var/log/{file['name']}\n{rule}\n{file['text']}\n\n" for file in files)
