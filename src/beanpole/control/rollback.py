"""Go back to a release that passed: a new release with an old one's content, activated where it still lies.

The number of instances does not travel back: whoever scaled up under load and then returns a version wants both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import compose, errors, settings, submit
from beanpole.control.context import By, Control, the_environment
from beanpole.operations.brought import brought
from beanpole.operations.observed import members, target
from beanpole.options.changes import diff
from beanpole.policies import all_at_once
from beanpole.policies.change import Rules
from beanpole.store import environments

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.control.compose import Composed
    from beanpole.operations.work import Brought
    from beanpole.policies.plan import Plan
    from beanpole.store.environments import Environment, OptionKey
    from beanpole.store.events import Said
    from beanpole.store.operations import Origin

_SCALE = {
    (settings.GROUP, "MinSize"),
    (settings.GROUP, "MaxSize"),
    ("aws:elasticbeanstalk:environment", "EnvironmentType"),
}


@dataclass(frozen=True)
class Difference:
    """One thing that the return changes. Values of environment properties are not shown: they may be secrets."""

    what: str
    old: str
    new: str


@dataclass(frozen=True)
class Decision:
    environment: Environment
    back_to: Brought
    composed: Composed
    stored: dict[OptionKey, str]
    plan: Plan
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Begun:
    decision: Decision
    operation: int
    release: int


def decide(control: Control, *, name: str | None, id_: str | None, number: int | None, ready: bool = True) -> Decision:
    """To release `number`, else to the last one that passed and differs from what runs. Raises the API's errors."""
    with control.database.read() as db:
        environment = the_environment(db, name=name, id_=id_)
        if ready and environment.status != "Ready":
            raise errors.not_ready(environment.name)
        current = brought(db, control.registry, environment.id, environment.release)
        if current is None:
            raise errors.invalid(f"Environment named {environment.name} has no release that passed yet.")
        goal = brought(db, control.registry, environment.id, _number(db, environment, current, number))
        if goal is None:
            raise errors.invalid(f"Environment named {environment.name} has no release {number}.")
        stored = _without_scale_change(db, environment, goal.number)
        fleet = members(db, environment.id)
    composed = compose.recompose(control, goal, stored, [])
    plan = all_at_once.plan(fleet, msgspec.structs.replace(target(goal), once=False), Rules())
    plan = msgspec.structs.replace(plan, policy="Rollback")
    return Decision(environment, goal, composed, stored, plan, _differences(control, current, composed, goal))


def rollback(
    control: Control,
    by: By,
    decision: Decision,
    *,
    origin: Origin = "user",
    words: tuple[Said, ...] = (("Environment update is starting.", "INFO"),),
    discredit: int | None = None,
) -> Begun:
    """Begin the return. `discredit`: the release that it is from did not pass after all; nobody is to return to it."""
    environment = decision.environment
    goal = decision.back_to
    with control.database.write() as db:
        if origin == "user" and the_environment(db, id_=environment.id).status != "Ready":
            raise errors.not_ready(environment.name)
        if discredit is not None:
            environments.update_release(db, environment.id, discredit, passed_at=None)
        release = submit.add_release(db, control, environment.id, decision.composed, decision.stored)
        going: Said = (f"Returning to release {goal.number} (version {goal.version_label}).", "INFO")
        operation = submit.begin(
            db,
            control,
            by,
            environment,
            decision.plan,
            kind="rollback",
            release=release,
            desired=None,
            settings=decision.composed.settings,
            words=[*words, going],
            origin=origin,
        )
    control.wake()
    return Begun(decision, operation, release)


def _number(db: sa.Connection, environment: Environment, current: Brought, number: int | None) -> int:
    if number is not None:
        return number
    for release in environments.releases(db, environment.id):
        if release.number < current.number and release.passed_at is not None and release.digest != current.digest:
            return release.number
    raise errors.invalid(
        f"Environment named {environment.name} has no earlier release that passed and differs from what is running."
    )


def _without_scale_change(db: sa.Connection, environment: Environment, number: int) -> dict[OptionKey, str]:
    release = environments.find_release(db, environment.id, number)
    then = msgspec.json.decode(release.settings, type=list[tuple[str, str, str, str]]) if release else []
    now = environments.options(db, environment.id)
    kept = {(namespace, name, of): value for namespace, name, of, value in then if (namespace, name) not in _SCALE}
    return kept | {key: value for key, value in now.items() if key[:2] in _SCALE}


def _differences(control: Control, current: Brought, composed: Composed, goal: Brought) -> tuple[Difference, ...]:
    found = []
    if current.version_label != goal.version_label:
        found.append(Difference("version", current.version_label, goal.version_label))
    if current.content.python != goal.content.python:
        found.append(Difference("Python", current.content.python, goal.content.python))
    for change in diff(control.registry, current.settings, composed.settings).options:
        secret = change.namespace == "aws:elasticbeanstalk:application:environment"
        old, new = ("(set)" if value and secret else value or "(none)" for value in (change.old, change.new))
        found.append(Difference(f"{change.namespace} {change.name}", old, new))
    return tuple(found)
