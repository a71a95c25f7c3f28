"""Looks after releases that passed: one that turns bad is returned from, an instance that fell behind is brought along.

When a release is bad is decided in verdict.py. An instance whose agent says that the release is gone from it has no
endpoint any more, so that whoever makes a plan knows that nothing serves there. Otherwise this only submits operations
of the system's own; they yield to whatever a user asks for.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import structlog

from beanpole.aws.errors import AwsError
from beanpole.control import rollback
from beanpole.control.context import By, Control
from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.operations.brought import brought
from beanpole.operations.health_check import health_check
from beanpole.reconcile.alignment import Alignment, is_idle
from beanpole.reconcile.past import RETURNS, Past, past
from beanpole.reconcile.testimony import hear
from beanpole.reconcile.verdict import Record, Terms, Told, Verdict, follow, judge, lost
from beanpole.store import environments, events, instances, operations

if TYPE_CHECKING:
    from typing import Any

    import sqlalchemy as sa

    from beanpole.fleet.fleet import Fleet
    from beanpole.operations.work import Brought
    from beanpole.store.environments import Environment
    from beanpole.store.events import Said
    from beanpole.store.instances import Endpoint

PERIOD = 1.0
"""Seconds between looks."""

ASK_ILL = 3.0
"""Seconds between questions to the agent of an unhealthy instance: each answer is a walk through all processes."""

ASK_WELL = 10.0
"""Seconds between questions to the agent of a healthy instance whose release is watched, for deaths of its process."""

RETURN_AGAIN = 60.0
"""Seconds until a return that was refused (there is nothing to return to, say) is asked for again."""

SYSTEM = "beanpole"
"""Who acts when no user does."""

log = structlog.get_logger("watch")


@dataclass
class _Ledger:
    """What is remembered of an environment's instances while it has one release. `asked`: when their agents were."""

    release: int
    records: dict[str, Record] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    return_after: float = 0.0
    told: bool = False
    """The user knows that it is bad and stays."""


@dataclass(frozen=True)
class _Scene:
    """One environment as it was looked at; endpoints are those in rotation, by instance id."""

    environment: Environment
    release: Brought
    past: Past
    watched: bool
    settled: frozenset[str]
    refusing: frozenset[str]
    """Instances to which the release could not be brought back, and that do not serve it."""
    endpoints: dict[str, Endpoint]
    healthy: dict[str, bool | None]
    ledger: _Ledger

    def serving(self) -> dict[str, Record]:
        """Of the instances whose testimony counts: they serve the release, and have it."""
        return {
            name: record
            for name, record in self.ledger.records.items()
            if self.endpoints[name].digest == self.release.digest and not lost(record)
        }

    def wanted(self, now: float) -> dict[str, str]:
        """The digests to ask agents about, by instance."""
        found = {}
        for name, endpoint in self.endpoints.items():
            pause = ASK_ILL if self.healthy[name] is False else ASK_WELL
            if (self.watched or self.healthy[name] is False) and now - self.ledger.asked.get(name, 0.0) >= pause:
                found[name] = endpoint.digest
        return found


class Watch:
    def __init__(self, control: Control, fleet: Fleet) -> None:
        self._control = control
        self._fleet = fleet
        self._alignment = Alignment(control)
        self._ledgers: dict[str, _Ledger] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                view = await self._control.balancers.view()
            except (AgentError, AgentWillNotStart):
                continue  # without the balancer nothing can be said of anybody's health
            await self.look(view)

    async def look(self, view: dict[str, Any]) -> None:
        """One look at everything; `view`: the balancer's."""
        scenes = await asyncio.to_thread(self._scenes, view)
        told = await self._hear(scenes)
        if await asyncio.to_thread(self._conclude, scenes, told):
            try:
                await self._control.balancers.apply()
            except (AgentError, AgentWillNotStart) as problem:
                # What it still knows gets no requests, since it is unhealthy; the next change brings it up to date.
                log.warning("the balancer was not told", problem=str(problem))

    def _scenes(self, view: dict[str, Any]) -> list[_Scene]:
        with self._control.database.read() as db:
            busy = {operation.environment_id for operation in operations.listed(db, open_only=True, limit=1000)}
            live = environments.listed(db)
            scenes = [
                scene
                for each in live
                if each.status == "Ready" and each.id not in busy
                if (scene := self._scene(db, each, view.get(each.id, {}))) is not None
            ]
        seen = {scene.environment.id for scene in scenes}
        self._ledgers = {each.id: self._ledgers[each.id] for each in live if each.id in self._ledgers}
        for name in self._ledgers.keys() - seen:
            # An operation takes instances out and in: what was bad before it need not be bad after it.
            records = self._ledgers[name].records
            records.update({each: msgspec.structs.replace(old, seen_at=0.0) for each, old in records.items()})
        return scenes

    def _scene(self, db: sa.Connection, environment: Environment, view: dict[str, Any]) -> _Scene | None:
        release = brought(db, self._control.registry, environment.id, environment.release)
        if release is None:
            return None
        before = past(db, environment.id, release.number)
        watched = before.served(self._now()) < release.settings.integer("beanpole:deployment", "WatchMinutes") * 60
        endpoints = {
            each.instance_id: each for each in instances.endpoints(db, environment.id) if each.state == "serving"
        }
        ledger = self._ledgers.get(environment.id)
        if ledger is None or ledger.release != release.number:
            ledger = self._ledgers[environment.id] = _Ledger(release.number)
        return _Scene(
            environment,
            release,
            before,
            watched,
            frozenset({release.digest, *before.left_by_failure(db, self._control.registry)}),
            before.refusing(db) - _with(endpoints, release.digest) if watched else frozenset(),
            endpoints,
            {name: view.get(f"{each.address}:{each.port}", {}).get("healthy") for name, each in endpoints.items()},
            ledger,
        )

    async def _hear(self, scenes: list[_Scene]) -> dict[str, Told]:
        now = self._now()
        wanted = {}
        for scene in scenes:
            mine = scene.wanted(now)
            scene.ledger.asked.update(dict.fromkeys(mine, now))
            wanted.update(mine)
        return await hear(self._fleet, wanted)

    def _conclude(self, scenes: list[_Scene], told: dict[str, Told]) -> bool:
        """Whether the balancer has to be told of something."""
        changed = False
        for scene in scenes:
            now = self._now()
            ledger = scene.ledger
            ledger.records = {
                name: follow(
                    ledger.records.get(name), now, scene.healthy[name], told.get(name), passed_at=scene.past.passed_at
                )
                for name in scene.endpoints
            }
            gone = [name for name, record in ledger.records.items() if lost(record)]
            if gone:
                changed = self._strike(scene, gone) or changed
            try:
                if not self._returns(scene, now) and not self._may_return(scene, now):
                    self._alignment.bring(_by(), scene.environment, scene.release, scene.settled)
            except AwsError as refusal:
                # A user was quicker; the next look starts from what is then.
                log.info("nothing submitted", environment=scene.environment.name, reason=refusal.message)
        return changed

    def _strike(self, scene: _Scene, names: list[str]) -> bool:
        """These instances lost their release: they have no endpoint any more, and the user is told."""
        environment, database = scene.environment, self._control.database
        subject = events.Subject(environment.application, environment.id, environment.name)
        with database.write() as db:
            if not is_idle(db, environment):
                return False
            for name in names:
                instances.remove_endpoint(db, name, scene.endpoints[name].digest)
                instances.update(db, name, release=None)
                words = (
                    f"[Instance: {name}] The release that served here is gone from the instance or cannot be started "
                    "again. It is brought anew."
                )
                events.say(db, database.now_ms(), subject, words, "ERROR")
        return True

    def _returns(self, scene: _Scene, now: float) -> bool:
        """Whether the environment goes back to an earlier release: then nothing else is to be done."""
        release, ledger = scene.release, scene.ledger
        if not scene.watched or not release.settings.boolean("beanpole:deployment", "AutoRollback"):
            return False
        check = health_check(release.settings)
        terms = Terms(
            start=release.settings.seconds("beanpole:deployment", "StartTimeout"),
            check=check.unhealthy * check.interval + check.timeout,
            passed_at=scene.past.passed_at,
        )
        verdict = judge(scene.serving(), terms, now, scene.refusing)
        if verdict is None or now < ledger.return_after:
            return False
        ledger.return_after = now + RETURN_AGAIN
        if not self._return(scene, verdict):
            return False
        ledger.return_after = 0.0
        return True

    def _may_return(self, scene: _Scene, now: float) -> bool:
        """Whether the release is on trial: to bring it along again meanwhile would keep it from being judged."""
        if not scene.watched or scene.past.chosen or now < scene.ledger.return_after:
            return False
        if not scene.release.settings.boolean("beanpole:deployment", "AutoRollback"):
            return False
        return any(record.ill_since is not None for record in scene.serving().values())

    def _return(self, scene: _Scene, verdict: Verdict) -> bool:
        """To the last release that passed, differs, and was not tried in vain; False when there is none."""
        environment, release = scene.environment, scene.release
        words = (
            f"Release {release.number} (version {release.version_label}) passed its checks and turned bad afterwards: "
            f"{verdict.words()}. Look at the logs of these instances."
        )
        if scene.past.chosen:
            return self._stays(scene, f"{words} It stays, since a person went back to it or started it anew.")
        if len(scene.past.returns) >= RETURNS:
            return self._stays(scene, f"{words} It stays: {RETURNS} returns in a row did not help.")
        with self._control.database.read() as db:
            goal = rollback.earlier(db, self._control, environment, release, scene.past.bad(db))
        if goal is None:
            return self._stays(scene, f"{words} It stays: there is no earlier release that passed and is another one.")
        decision = rollback.decide(self._control, name=None, id_=environment.id, number=goal)
        because: tuple[Said, ...] = ((words, "ERROR"),)
        rollback.rollback(self._control, _by(), decision, origin="system", words=because, discredit=release.number)
        return True

    def _stays(self, scene: _Scene, words: str) -> bool:
        """Said once of each release."""
        environment, database = scene.environment, self._control.database
        if not scene.ledger.told:
            subject = events.Subject(environment.application, environment.id, environment.name)
            with database.write() as db:
                events.say(db, database.now_ms(), subject, words, "ERROR")
        scene.ledger.told = True
        return False

    def _now(self) -> float:
        return self._control.database.now_ms() / 1000


def _with(endpoints: dict[str, Endpoint], digest: str) -> set[str]:
    return {name for name, each in endpoints.items() if each.digest == digest}


def _by() -> By:
    return By(SYSTEM, f"system-{secrets.token_hex(8)}")
