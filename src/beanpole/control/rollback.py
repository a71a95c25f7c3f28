"""Go back to a release that passed: a new release with an old one's content, activated where it still lies.

The number of instances does not travel back: whoever scaled up under load and then returns a version wants both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import compose, errors, settings, submit
from beanpole.control.adoption import ADOPTED
from beanpole.control.context import By, Control, the_environment
from beanpole.operations.brought import brought
from beanpole.operations.difference import Difference, differences
from beanpole.operations.health_check import health_check
from beanpole.operations.observed import members, target
from beanpole.options.smoke import tests_of
from beanpole.policies import all_at_once
from beanpole.policies.change import Rules
from beanpole.policies.plan import Plan, Register
from beanpole.policies.smoke import with_smoke
from beanpole.store import environments, operations

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

    from beanpole.control.compose import Composed
    from beanpole.operations.work import Brought
    from beanpole.policies.change import Member
    from beanpole.policies.plan import AnyStep
    from beanpole.store.environments import Environment, OptionKey
    from beanpole.store.events import Said
    from beanpole.store.operations import Origin

_SCALE = {
    (settings.GROUP, "MinSize"),
    (settings.GROUP, "MaxSize"),
    ("aws:elasticbeanstalk:environment", "EnvironmentType"),
}


@dataclass(frozen=True)
class Decision:
    environment: Environment
    back_to: Brought
    composed: Composed
    before: dict[OptionKey, str]
    """The stored settings on which it was decided."""
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
        fleet = members(db, environment.id)
        chosen = (
            _chosen(db, environment, number) if number is not None else _last(db, control, environment, current, fleet)
        )
        goal = brought(db, control.registry, environment.id, chosen)
        if goal is None:
            raise errors.invalid(f"Environment named {environment.name} has no release {number}.")
        before = environments.options(db, environment.id)
        stored = _without_scale_change(db, environment, goal.number)
    composed = compose.recompose(control, goal, stored, [])
    changed = differences(control.registry, current, composed)
    plan = _plan(fleet, current, composed, goal)
    if number is not None and not plan.steps and not changed:
        raise errors.invalid(f"Environment named {environment.name} runs what release {number} is already.")
    return Decision(environment, goal, composed, before, stored, plan, changed)


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
        now = the_environment(db, id_=environment.id)
        overtaken = now.release != environment.release or environments.options(db, environment.id) != decision.before
        if now.status != "Ready" or overtaken or operations.open_of_users(db, environment.id):
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


def _chosen(db: sa.Connection, environment: Environment, number: int) -> int:
    found = environments.find_release(db, environment.id, number)
    if found is not None and found.passed_at is None:
        raise errors.invalid(
            f"Release {number} of environment named {environment.name} never passed its checks. Deploy its version "
            f"{found.version_label} if you want to try it again."
        )
    return number


def _last(
    db: sa.Connection, control: Control, environment: Environment, current: Brought, fleet: tuple[Member, ...]
) -> int:
    """The last release that passed and differs from what runs, by what its processes or the balancer can notice.

    Where a failed release was left running, as AutoRollback was off, that is the last one that passed at all.
    """
    if any(member.digest not in (None, current.digest) for member in fleet):
        return current.number
    found = earlier(db, control, environment, current)
    if found is not None:
        return found
    adopted = any((each.version_label or "").startswith(ADOPTED) for each in environments.releases(db, environment.id))
    before = f" `beanpole eject {environment.name} --to-unit` gives its port back to the service of before."
    raise errors.invalid(
        f"Environment named {environment.name} has no earlier release that passed and differs from what is running."
        + (before if adopted else "")
    )


def earlier(
    db: sa.Connection, control: Control, environment: Environment, current: Brought, but: Collection[str] = ()
) -> int | None:
    """The last release before the current one that passed and differs from it; None when there is none.

    `but`: digests of releases that it must not be.
    """
    other = {environments.without_turn(digest) for digest in but}
    for release in environments.releases(db, environment.id):
        digest = environments.without_turn(release.digest)
        if release.number >= current.number or release.passed_at is None or digest in other:
            continue
        if digest != environments.without_turn(current.digest):
            return release.number
        former = brought(db, control.registry, environment.id, release.number)
        if former is not None and health_check(former.settings) != health_check(current.settings):
            return release.number
    return None


def _plan(fleet: tuple[Member, ...], current: Brought, composed: Composed, goal: Brought) -> Plan:
    """Nothing is started where the release serves already; then at most the balancer checks as it did."""
    if any(member.digest != goal.digest for member in fleet):
        plan = all_at_once.plan(fleet, msgspec.structs.replace(target(goal), once=False), Rules())
        plan = with_smoke(plan, [test.words for test in tests_of(composed.settings)])
        return msgspec.structs.replace(plan, policy="Rollback")
    steps: tuple[AnyStep, ...] = ()
    if fleet and health_check(current.settings) != health_check(composed.settings):
        ids = tuple(member.id for member in fleet)
        steps = (Register(key="register", slots=ids, words="Tell the balancer how to check the instances"),)
    return Plan(policy="Rollback", steps=steps)


def _without_scale_change(db: sa.Connection, environment: Environment, number: int) -> dict[OptionKey, str]:
    release = environments.find_release(db, environment.id, number)
    then = msgspec.json.decode(release.settings, type=list[tuple[str, str, str, str]]) if release else []
    now = environments.options(db, environment.id)
    kept = {(namespace, name, of): value for namespace, name, of, value in then if (namespace, name) not in _SCALE}
    return kept | {key: value for key, value in now.items() if key[:2] in _SCALE}
