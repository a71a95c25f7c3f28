"""Brings instances into line: those that serve what they should not, are missing, too many, or were half removed.

What fails is tried again after growing pauses, each instance for itself; the same sentence is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.control import submit, update
from beanpole.operations.observed import members, target
from beanpole.policies import all_at_once, capacity
from beanpole.policies.change import Rules
from beanpole.policies.plan import AnyStep, Plan
from beanpole.reconcile.backoff import Backoff
from beanpole.store import environments, instances, operations

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

    from beanpole.control.context import By, Control
    from beanpole.operations.work import Brought
    from beanpole.policies.change import Member
    from beanpole.store.environments import Environment


class Alignment:
    def __init__(self, control: Control) -> None:
        self._control = control
        self._backoff = Backoff()
        self._told: dict[str, str] = {}

    def bring(self, by: By, environment: Environment, release: Brought, settled: Collection[str]) -> None:
        """Submit what is due, if anything is. `settled`: digests of the releases that an instance may serve."""
        control = self._control
        now = control.database.now_ms() / 1000
        with control.database.read() as db:
            if not self._askew(db, environment, settled, now):
                return
        with control.database.write() as db:
            # Some time has passed since the look: whoever asked for something meanwhile goes first.
            if not is_idle(db, environment):
                return
            askew = self._askew(db, environment, settled, now)
            due = {key for key in askew if self._backoff.due(key, release.number, now)}
            fleet = members(db, environment.id)
            removing = tuple(each for each in _half_removed(db, environment) if each in due)
            plan, behind = _plan(environment, release, fleet, removing, due)
            if not plan.steps:
                return
            names = ", ".join(member.id for member in behind)
            words = f"Bringing the instances into line with release {release.number}{f': {names}' if names else ''}."
            submit.begin(
                db,
                control,
                by,
                environment,
                plan,
                kind="align",
                release=release.number,
                desired=None,
                settings=release.settings,
                words=[(words, "WARN")] if self._told.get(environment.id) != words else [],
                origin="system",
            )
        for key in due:
            self._backoff.tried(key, release.number, now)
        self._told[environment.id] = words
        control.wake()

    def _askew(self, db: sa.Connection, environment: Environment, settled: Collection[str], now: float) -> list[str]:
        """Instances that are out of line, and the key of the whole fleet where their number is wrong."""
        fleet = members(db, environment.id)
        # What cannot be reached is waited for: to try would only keep everybody else waiting.
        behind = [member.id for member in fleet if member.digest not in settled and member.reachable]
        well = [member.id for member in fleet if member.digest in settled]
        count = [_count(environment)]
        right = len(fleet) == environment.desired
        for key in [*well, *count] if right else well:
            self._backoff.well(key, now)
        found = [*_half_removed(db, environment), *behind, *([] if right else count)]
        if not found:
            self._told.pop(environment.id, None)
        return found


def is_idle(db: sa.Connection, environment: Environment) -> bool:
    """Whether nothing has changed the environment since it was looked at, and nothing is about to."""
    now = environments.find(db, environment.id)
    unchanged = now is not None and (now.status, now.release, now.desired) == (
        environment.status,
        environment.release,
        environment.desired,
    )
    return unchanged and not operations.listed(db, environment_id=environment.id, open_only=True, limit=1)


def _plan(
    environment: Environment, release: Brought, fleet: tuple[Member, ...], removing: tuple[str, ...], due: set[str]
) -> tuple[Plan, tuple[Member, ...]]:
    """What is due, and the instances that the release is brought to. Surplus ones leave first."""
    goal = msgspec.structs.replace(target(release), once=False)
    counted = _count(environment) in due
    surplus = max(len(fleet) - environment.desired, 0) if counted else 0
    missing = max(environment.desired - len(fleet), 0) if counted else 0
    leaving = capacity.shrink(fleet, surplus)[0].slots if surplus else ()
    behind = tuple(member for member in fleet if member.id in due) if not surplus else ()
    steps: list[AnyStep] = capacity.remove((*removing, *leaving)) if removing or leaving else []
    if behind:
        steps += all_at_once.plan(behind, goal, Rules()).steps
    if missing:
        steps += capacity.grow(missing, update.joining(goal, once=False))
    return Plan(policy="AllAtOnce", steps=tuple(steps)), behind


def _half_removed(db: sa.Connection, environment: Environment) -> list[str]:
    """Instances whose removal failed."""
    return [each.id for each in instances.listed(db, environment.id) if each.state == "terminating"]


def _count(environment: Environment) -> str:
    return f"number of {environment.id}"
