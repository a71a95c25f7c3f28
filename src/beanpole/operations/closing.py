"""How an operation ends, or turns back: one transaction each, with the sentences that clients wait for.

The environment is `Ready` before the closing event can be read, since the user's next command follows at once, and a
failing sentence comes only when the return is complete.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from beanpole.operations.account import account_of, encode
from beanpole.operations.blame import Aborted, OperationEnded
from beanpole.operations.brought import brought
from beanpole.operations.observed import members, target
from beanpole.operations.release import decode
from beanpole.policies import plan as plans
from beanpole.policies import rollback
from beanpole.policies.plan import Activate, After, Launch, Plan, Register, Shift
from beanpole.store import applications, environments, events, operations, pairs
from beanpole.store.events import Subject
from beanpole.store.operations import holding

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.operations.blame import Blame
    from beanpole.operations.work import Parts
    from beanpole.policies.plan import AnyStep
    from beanpole.store.environments import Environment, Release
    from beanpole.store.events import Said, Severity
    from beanpole.store.operations import Operation

LAST_LINES = 10
"""Of a failed command's output, as events. Servers write some lines after the one that says why."""

SUCCEEDED = "Environment update completed successfully."
TERMINATED = "terminateEnvironment completed successfully."
APPLICATION_DELETED = "The application has been deleted successfully."
RESTARTED = "restartAppServer completed successfully."
REVERTED = "The environment was reverted to the previous configuration setting."
NOT_LAUNCHED = "Failed to launch environment."
NOT_DEPLOYED = "Failed to deploy application."
NOT_CONFIGURED = "Failed to deploy configuration."
NOT_RESTARTED = "Failed to restart application server."
SWAPPED = "Completed swapping CNAMEs for environments '{}' and '{}'."
NOT_SWAPPED = "Update environment operation is complete, but with errors. The CNAMEs were not swapped."
NOT_REBUILT = "Update environment operation is complete, but with errors. The environment could not be rebuilt."
OVER = "Successfully finished tailing the events of this environment's part of the group, which did not succeed."
"""What ends the EB CLI's wait for a group (`wait_for_compose_events`): it looks for successes alone, those of other
commands among them, and would go on for a quarter of an hour after every failing sentence."""
NOT_TERMINATED = "Update environment operation is complete, but with errors. The environment could not be terminated."


class Closing:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def succeeded(self, held: Operation, unfinished: Blame | None = None) -> bool:
        """Close it as succeeded. False when an abort was accepted in the meantime: then nothing is written.

        `unfinished`: why not all instances that were replaced are gone yet.
        """
        return await asyncio.to_thread(self._succeeded, held, unfinished)

    async def turn(self, held: Operation, ended: OperationEnded) -> Operation:
        """From forward to return: the way back is planned from what is observed, and the cause is told.

        What the system itself began and a user's request ended has no way back; it is closed here.
        """
        return await asyncio.to_thread(self._turn, held, ended)

    async def returned(self, held: Operation, unfinished: Blame | None = None) -> None:
        """Close what went back. `unfinished`: why it stops before all was done."""
        await asyncio.to_thread(self._returned, held, unfinished)

    def _succeeded(self, held: Operation, unfinished: Blame | None) -> bool:
        database = self._parts.database
        with holding(database, held) as db:
            account = self._account(db, held, succeeded=True)
            if not operations.finish(db, held, database.now_ms(), "succeeded", account=account):
                return False
            environment, say = self._speaker(db, held)
            if held.kind == "terminate":
                self._terminated(db, environment)
                say(TERMINATED)
                self._delete_application(db, environment.application)
                return True
            self._accept(db, held, environment)
            if unfinished is not None:
                say(
                    f"{unfinished.line()} The new instances serve; what is left of the others is removed later.", "WARN"
                )
            if held.kind == pairs.KIND:
                self._swapped(db, held, environment, say)
            elif held.kind == "create":
                say(f"Application available at {self._parts.balancers.cname(environment.cname_prefix or '')}.")
                say(f"Successfully launched environment: {environment.name}")
            elif held.kind == "restart":
                say("Restarted application server on all ec2 instances.")
                say(RESTARTED)
            elif held.origin == "user":
                if _version_changed(db, held) and plans.decode(held.plan).touches:
                    say("New application version was deployed to running EC2 instances.")
                say(SUCCEEDED)
            else:
                self._tell_where_it_stands(db, held, held.release, say)
        return True

    def _account(self, db: sa.Connection, held: Operation, *, succeeded: bool) -> str:
        return encode(account_of(db, self._parts, held, succeeded=succeeded))

    def _accept(self, db: sa.Connection, held: Operation, environment: Environment) -> None:
        """The release, its settings and the number of instances are the environment's from now on."""
        now = self._parts.database.now_ms()
        columns: dict[str, object] = {"status": "Ready", "updated_at": now}
        if held.desired is not None:
            columns["desired"] = held.desired
        release = environments.find_release(db, environment.id, held.release)
        if release is not None:
            columns |= {"release": release.number, "version_label": release.version_label, **_platform(release)}
            stored = msgspec.json.decode(release.settings, type=list[tuple[str, str, str, str]])
            environments.put_options(db, environment.id, {(ns, name, of): value for ns, name, of, value in stored})
            if release.passed_at is None:
                environments.update_release(db, environment.id, release.number, passed_at=now)
        environments.update(db, environment.id, **columns)

    def _swapped(self, db: sa.Connection, held: Operation, environment: Environment, say: Say) -> None:
        other = pairs.let_go(db, self._parts.database.now_ms(), held)
        if other is None:
            raise LookupError(f"operation {held.id} swaps with an unknown environment")
        points = f"'{self._parts.balancers.cname(other.cname_prefix or '')}' now points to '{other.name}'."
        # Whoever follows the request sees the environment in which it began alone, and would miss what is in between.
        subject = Subject(other.application, other.id, other.name, other.version_label)
        events.say(db, self._parts.database.now_ms(), subject, points)
        say(points)
        say(SWAPPED.format(environment.name, other.name))

    def _terminated(self, db: sa.Connection, environment: Environment) -> None:
        now = self._parts.database.now_ms()
        environments.update(
            db,
            environment.id,
            status="Terminated",
            terminate_at=None,
            health="Unknown",
            causes="[]",
            desired=0,
            terminated_at=now,
            updated_at=now,
        )

    def _delete_application(self, db: sa.Connection, name: str) -> None:
        """The last environment of an application that is being deleted is gone: so is the application."""
        application = applications.find(db, name)
        if application is None or application.deleting is None or environments.listed(db, application=name):
            return
        applications.remove(db, name)
        subject = Subject(application=name, request_id=application.deleting)
        events.say(db, self._parts.database.now_ms(), subject, APPLICATION_DELETED)

    def _turn(self, held: Operation, ended: OperationEnded) -> Operation:
        database = self._parts.database
        outcome: operations.Outcome = "aborted" if isinstance(ended, Aborted) else "failed"
        error = msgspec.json.encode(ended.blame).decode()
        with holding(database, held) as db:
            environment, say = self._speaker(db, held)
            if held.origin == "system" and outcome == "aborted":
                account = self._account(db, held, succeeded=False)
                operations.finish(db, held, database.now_ms(), outcome, error, account)
                return _reread(db, held)
            for line in ended.blame.last_lines[-LAST_LINES:]:
                say(f"[Instance: {ended.blame.instance}] {line}" if ended.blame.instance else line, "INFO")
            if outcome == "failed":
                say(ended.blame.line(), "ERROR")
            if held.origin == "user" and held.kind != "create" and held.kind != "terminate":
                environments.update(db, environment.id, status="Aborting" if outcome == "aborted" else "Updating")
            plan = self._way_back(db, held, environment, outcome)
            operations.turn(db, held, plans.encode(plan), outcome, error)
            return _reread(db, held)

    def _way_back(self, db: sa.Connection, held: Operation, environment: Environment, outcome: str) -> Plan:
        old = brought(db, self._parts.registry, held.environment_id, held.previous)
        new = brought(db, self._parts.registry, held.environment_id, held.release)
        wanted = new.settings.boolean("beanpole:deployment", "AutoRollback") if new else True
        if held.kind == pairs.KIND:
            return Plan(policy="Rollback", steps=_steps(held))
        journal = operations.journal_of(db, held.id)
        launched = tuple(result["instance"] for key, result in journal.items() if key.endswith("/bind"))
        fleet = members(db, held.environment_id)
        if held.kind != "terminate" and not wanted and outcome == "failed":
            # What was changed stays as it is, to be looked at; what came beside it would be in nobody's way for long.
            beside = any(isinstance(step, Launch) and step.beside for step in _steps(held))
            surplus = rollback.surplus(fleet, launched, environment.desired) if beside else ()
            return Plan(policy="Rollback", steps=tuple(rollback.give_back(surplus)))
        begun = [step for step in _steps(held) if f"forward/{step.key}/begin" in journal]
        return rollback.plan(
            fleet,
            launched,
            target(old, prepare=False) if old is not None else None,
            touched=frozenset(slot for step in begun if isinstance(step, Activate) for slot in step.slots),
            checks=any(isinstance(step, Register) for step in begun),
            number=environment.desired,
            shared=any(isinstance(step, Shift) for step in begun),
            at_once=max((len(step.slots) for step in _steps(held) if isinstance(step, Activate)), default=0),
        )

    def _returned(self, held: Operation, unfinished: Blame | None) -> None:
        database = self._parts.database
        with holding(database, held) as db:
            environment, say = self._speaker(db, held)
            account = self._account(db, held, succeeded=False)
            operations.finish(db, held, database.now_ms(), held.outcome or "failed", held.error, account)
            if held.origin == "user":
                # The platform that was asked for is not the environment's when the release on it did not pass.
                before = environments.find_release(db, environment.id, held.previous)
                columns = _platform(before) if before is not None else {}
                environments.update(db, environment.id, status="Ready", updated_at=database.now_ms(), **columns)
                pairs.let_go(db, database.now_ms(), held)
            if unfinished is not None:
                say(unfinished.line(), "ERROR")
            self._tell_where_it_stands(db, held, held.previous, say)
            if held.origin == "user":
                say(*verdict(db, held))
                if any(isinstance(step, After) for step in _steps(held)):
                    say(OVER)
            if held.kind == "terminate":
                self._keep_application(db, environment)

    def _keep_application(self, db: sa.Connection, environment: Environment) -> None:
        """An environment stays, so the application that was to go with it stays, too, and may be deleted again."""
        application = applications.find(db, environment.application)
        if application is None or application.deleting is None:
            return
        applications.update(db, application.name, deleting=None)
        subject = Subject(application=application.name, request_id=application.deleting)
        words = f"{NOT_TERMINATED} It is {environment.name}; the application stays."
        events.say(db, self._parts.database.now_ms(), subject, words, "ERROR")

    def _tell_where_it_stands(self, db: sa.Connection, held: Operation, number: int | None, say: Say) -> None:
        """Which instances serve the release that they should serve now."""
        if held.kind in ("create", "terminate", pairs.KIND):
            return
        release = brought(db, self._parts.registry, held.environment_id, number)
        fleet = members(db, held.environment_id)
        if release is None or not fleet:
            return
        astray = [member.id for member in fleet if member.digest != release.digest]
        where = f"release {release.number} (version {release.version_label})"
        others = " The others do." if len(astray) < len(fleet) else ""
        if not astray:
            say(f"Every instance serves {where}.")
        else:
            say(f"These instances do not serve {where}: {', '.join(astray)}.{others}", "ERROR")
        if any(key.startswith("forward/once/") for key in operations.journal_of(db, held.id)):
            say(
                "The leader-only commands had run before the deployment ended. What they changed, such as a database "
                "schema, was not undone.",
                "WARN",
            )

    def _speaker(self, db: sa.Connection, held: Operation) -> tuple[Environment, Say]:
        environment = environments.find(db, held.environment_id)
        if environment is None:
            raise LookupError(f"operation {held.id} of an unknown environment {held.environment_id}")
        return environment, Say(self._parts, db, held, environment)


class Say:
    """Writes events of one operation in one transaction."""

    def __init__(self, parts: Parts, db: sa.Connection, held: Operation, environment: Environment) -> None:
        self._parts = parts
        self._db = db
        release = environments.find_release(db, environment.id, held.release)
        label = release.version_label if release else None
        self._subject = Subject(environment.application, environment.id, environment.name, label, held.request_id)

    def __call__(self, message: str, severity: Severity = "INFO") -> None:
        events.say(self._db, self._parts.database.now_ms(), self._subject, message, severity)


def verdict(db: sa.Connection, held: Operation) -> Said:
    """The one sentence that ends a client's wait in failure."""
    if held.kind == "terminate":
        return NOT_TERMINATED, "ERROR"
    if held.kind == "create":
        return NOT_LAUNCHED, "ERROR"
    if held.kind == pairs.KIND:
        return NOT_SWAPPED, "ERROR"
    if held.outcome == "aborted":
        return REVERTED, "INFO"
    if held.kind == "restart":
        return NOT_RESTARTED, "ERROR"
    if held.kind == "rebuild":
        return NOT_REBUILT, "ERROR"
    return (NOT_DEPLOYED if _version_changed(db, held) else NOT_CONFIGURED), "ERROR"


def _platform(of: Release) -> dict[str, object]:
    """The environment's columns, as the release has them."""
    content = decode(of.content)
    return {"platform": content.platform, "platform_version": content.platform_version} if content.platform else {}


def _steps(held: Operation) -> tuple[AnyStep, ...]:
    try:
        return plans.decode(held.plan).steps
    except plans.UnknownPlan:
        return ()


def _version_changed(db: sa.Connection, held: Operation) -> bool:
    new = environments.find_release(db, held.environment_id, held.release)
    old = environments.find_release(db, held.environment_id, held.previous)
    return new is not None and (old is None or new.version_label != old.version_label)


def _reread(db: sa.Connection, held: Operation) -> Operation:
    found = operations.find(db, held.id)
    if found is None:
        raise LookupError(f"operation {held.id} is gone")
    return found
