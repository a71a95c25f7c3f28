"""Looks after releases that passed: one that turns bad is returned from, an instance that fell behind is brought along.

It only submits operations of the system's own; they yield to whatever a user asks for.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import msgspec
import structlog

from beanpole.aws.errors import AwsError
from beanpole.control import rollback, submit, update
from beanpole.control.context import By, Control
from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.operations.brought import brought
from beanpole.operations.observed import members, target
from beanpole.policies import all_at_once, capacity
from beanpole.policies.change import Rules
from beanpole.policies.plan import Plan
from beanpole.store import environments, instances, operations

if TYPE_CHECKING:
    from typing import Any

    import sqlalchemy as sa

    from beanpole.operations.work import Brought
    from beanpole.store.environments import Environment
    from beanpole.store.events import Said

PERIOD = 1.0
"""Seconds between looks."""

BAD_LOOKS = 3
"""Looks in a row at which the balancer finds an instance of a new release unhealthy before it is returned from."""

RETRY_AFTER = 60.0
"""Seconds between attempts to bring one environment's instances in line."""

SYSTEM = "beanpole"
"""Who acts when no user does."""

log = structlog.get_logger("watch")


class Watch:
    def __init__(self, control: Control) -> None:
        self._control = control
        self._bad: dict[str, int] = {}
        self._tried: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                view = await self._control.edge.view()
            except (AgentUnreachable, AgentWillNotStart):
                continue  # without the balancer nothing can be said of anybody's health
            await asyncio.to_thread(self.once, view)

    def once(self, view: dict[str, Any]) -> None:
        with self._control.database.read() as db:
            busy = {operation.environment_id for operation in operations.listed(db, open_only=True, limit=1000)}
            live = [each for each in environments.listed(db) if each.status == "Ready" and each.id not in busy]
        for environment in live:
            try:
                self._look(environment, view.get(environment.id, {}))
            except AwsError as refusal:
                # A user was quicker; the next look starts from what is then.
                log.info("nothing submitted", environment=environment.name, reason=refusal.message)

    def _look(self, environment: Environment, endpoints: dict[str, Any]) -> None:
        control = self._control
        with control.database.read() as db:
            release = brought(db, control.registry, environment.id, environment.release)
            if release is None:
                return
            passed = environments.find_release(db, environment.id, release.number)
            fleet = members(db, environment.id)
            settled = {release.digest, *self._left_by_failure(db, environment)}
            names = {
                f"{each.address}:{each.port}": each.instance_id for each in instances.endpoints(db, environment.id)
            }
        unhealthy = sorted({names[key] for key, seen in endpoints.items() if key in names and not seen["healthy"]})
        self._bad[environment.id] = self._bad.get(environment.id, 0) + 1 if unhealthy else 0
        age = (control.database.now_ms() - (passed.passed_at or 0)) / 1000 if passed else float("inf")
        watched = age < release.settings.integer("beanpole:deployment", "WatchMinutes") * 60
        if watched and self._bad[environment.id] >= BAD_LOOKS:
            if release.settings.boolean("beanpole:deployment", "AutoRollback"):
                self._return(environment, release, unhealthy)
        elif len(fleet) != environment.desired or any(member.digest not in settled for member in fleet):
            self._align(environment, release, settled)

    def _left_by_failure(self, db: sa.Connection, environment: Environment) -> set[str]:
        """The digest of a release that failed and is to stay where it had arrived, as AutoRollback was off; if any."""
        users = (each for each in operations.listed(db, environment_id=environment.id) if each.origin == "user")
        newest = next(users, None)
        if newest is None or newest.outcome != "failed":
            return set()
        failed = brought(db, self._control.registry, environment.id, newest.release)
        if failed is None or failed.settings.boolean("beanpole:deployment", "AutoRollback"):
            return set()
        return {failed.digest}

    def _return(self, environment: Environment, release: Brought, unhealthy: list[str]) -> None:
        """Not from a release that somebody returned to: going back and forth between two bad ones helps nobody."""
        self._bad[environment.id] = 0
        with self._control.database.read() as db:
            newest = operations.listed(db, environment_id=environment.id, limit=1)
        if newest and newest[0].kind == "rollback":
            return
        words = (
            f"Release {release.number} (version {release.version_label}) passed its checks and turned bad afterwards: "
            f"the health check fails on {', '.join(unhealthy)}. Look at the logs of these instances."
        )
        try:
            decision = rollback.decide(self._control, name=None, id_=environment.id, number=None)
        except AwsError as nothing:
            log.info("no release to return to", environment=environment.name, reason=nothing.message)
            return
        because: tuple[Said, ...] = ((words, "ERROR"),)
        rollback.rollback(self._control, _by(), decision, origin="system", words=because, discredit=release.number)

    def _align(self, environment: Environment, release: Brought, settled: set[str]) -> None:
        """Instances that serve none of the releases that they may serve, or are missing, or too many."""
        control = self._control
        now = control.database.now_ms() / 1000
        if now - self._tried.get(environment.id, 0.0) < RETRY_AFTER:
            return
        self._tried[environment.id] = now
        goal = msgspec.structs.replace(target(release), once=False)
        with control.database.write() as db:
            fleet = members(db, environment.id)
            surplus = max(len(fleet) - environment.desired, 0)
            steps = capacity.shrink(fleet, surplus) if surplus else []
            behind = tuple(member for member in fleet if member.digest not in settled) if not surplus else ()
            if behind:
                steps += all_at_once.plan(behind, goal, Rules()).steps
            if len(fleet) < environment.desired:
                steps += capacity.grow(environment.desired - len(fleet), update.joining(goal, once=False))
            if not steps:
                return
            names = ", ".join(member.id for member in behind)
            words = f"Bringing the instances into line with release {release.number}{f': {names}' if names else ''}."
            submit.begin(
                db,
                control,
                _by(),
                environment,
                Plan(policy="AllAtOnce", steps=tuple(steps)),
                kind="align",
                release=release.number,
                desired=None,
                settings=release.settings,
                words=[(words, "WARN")],
                origin="system",
            )
        control.wake()


def _by() -> By:
    return By(SYSTEM, f"system-{secrets.token_hex(8)}")
