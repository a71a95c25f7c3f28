"""Change an environment: another version, other settings, another number of instances, or all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import compose, errors, locations, replacement, settings, submit
from beanpole.control.context import By, Control, the_environment
from beanpole.operations.brought import brought
from beanpole.operations.health_check import health_check
from beanpole.operations.observed import members
from beanpole.operations.placing import location_of
from beanpole.options.settings import ENVIRONMENT
from beanpole.options.smoke import tests_of
from beanpole.platforms.hooks import CONFIGHOOKS, HOOKS
from beanpole.policies import (
    all_at_once,
    capacity,
    immutable,
    rolling,
    rolling_with_additional_batch,
    traffic_splitting,
)
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.deployment import on_new
from beanpole.policies.plan import AnyStep, Launch, Plan, Register
from beanpole.policies.severity import NOTHING, Severity, severity
from beanpole.policies.smoke import through_balancer, with_smoke
from beanpole.store import applications, environments

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.control.compose import Composed
    from beanpole.operations.release import Content
    from beanpole.operations.work import Brought
    from beanpole.options.setting import Setting
    from beanpole.options.settings import Settings
    from beanpole.platforms.hooks import Hooks
    from beanpole.store.applications import Version
    from beanpole.store.environments import Environment, OptionKey
    from beanpole.store.events import Said

DECISIONS = 5
"""How often an update is decided on anew because something else changed the environment while it was decided on."""

POLICIES = {"Rolling": rolling.plan, rolling_with_additional_batch.NAME: rolling.plan}
"""On the instances that there are; AllAtOnce for the others."""

REPLACING = {module.NAME: module.plan for module in (rolling_with_additional_batch, immutable, traffic_splitting)}
"""With new instances."""


@dataclass(frozen=True)
class Update:
    """What a call asks for; None and empty mean: as it is. Application and tier are those that it has to have."""

    application: str | None = None
    tier: str | None = None
    version_label: str | None = None
    platform: str | None = None
    description: str | None = None
    changes: list[Setting] = field(default_factory=list)
    removals: set[OptionKey] = field(default_factory=set)


@dataclass(frozen=True)
class Basis:
    """What an update is decided on, as one transaction saw it; equal bases give equal decisions.

    The environment comes without its health, which changes by the second and decides nothing.
    """

    environment: Environment
    stored: dict[OptionKey, str]
    """The stored settings with those that the call changes."""
    location: str
    """Where its instances live."""
    label: str | None
    version: Version | None
    fleet: tuple[Member, ...]


@dataclass(frozen=True)
class Decision:
    """What an update would be: decided, and nothing done."""

    basis: Basis
    composed: Composed | None
    """None where there is nothing to deploy: no version was ever there, none is given."""
    plan: Plan
    desired: int
    needed: Severity = NOTHING


def update(control: Control, by: By, wanted: Update, *, name: str | None, id_: str | None) -> Environment:
    """Begin the update; the environment as it is then. Raises the API's errors, and changes nothing when it does.

    A decision takes its time outside of any transaction. One that another change has overtaken is made anew.
    """
    for _ in range(DECISIONS):
        decision = decide(control, wanted, name=name, id_=id_)
        environment = decision.basis.environment
        with control.database.write() as db:
            if not begin(db, control, by, wanted, decision, name=name, id_=id_):
                continue
            after = environments.find(db, environment.id)
        control.wake()
        return after or environment
    raise errors.not_ready(name or id_ or "")


def begin(
    db: sa.Connection,
    control: Control,
    by: By,
    wanted: Update,
    decision: Decision,
    *,
    name: str | None,
    id_: str | None,
) -> bool:
    """In the caller's transaction. False, and nothing is done, when another change has overtaken the decision."""
    if _basis(db, wanted, name=name, id_=id_) != decision.basis:
        return False
    _begin(db, control, by, wanted, decision)
    return True


def decide(control: Control, wanted: Update, *, name: str | None, id_: str | None) -> Decision:
    with control.database.read() as db:
        basis = _basis(db, wanted, name=name, id_=id_)
        environment, stored, version = basis.environment, basis.stored, basis.version
        current = brought(db, control.registry, environment.id, environment.release)
    before = current.settings if current else None
    platform = wanted.platform or environment.platform
    if version is not None:
        stays = environment.platform_version if wanted.platform is None else None
        composed = compose.compose(control, version, platform, stored, wanted.changes, before, platform_version=stays)
    elif current is not None and basis.label is not None:
        # The version was deleted after it was deployed; its release still knows everything.
        composed = compose.recompose(control, current, stored, wanted.changes)
    else:
        return Decision(basis, None, Plan(policy="AllAtOnce", steps=()), environment.desired)
    composed = compose.as_it_runs(composed, current)
    locations.refuse_move(environment.name, basis.location, composed.settings)
    desired = wanted_count(composed.settings, environment.desired)
    deploys = current is None or current.digest != composed.content.digest()
    with control.database.read() as db:
        moves = locations.moves(db, environment.id, composed.settings)
        needed = severity(control.registry, before, composed.settings, deploys=deploys, moves=moves)
        room = locations.room(db, environment.id, composed.settings, control.resident(environment.id))
        made = plan(composed, current, basis.fleet, desired, needed, room)
        beside = [step for step in made.steps if isinstance(step, Launch) and step.beside]
        if beside and made.policy != replacement.POLICY:
            locations.refuse_narrow(db, environment.id, composed.settings, beside)
        elif moves and needed.need == "replacement":
            # Each of them to another server, or beside itself: as if the environment were new.
            locations.refuse_crowd(db, "", composed.settings, desired)
        elif desired > len(basis.fleet):
            locations.refuse_crowd(db, environment.id, composed.settings, desired)
    return Decision(basis, composed, made, desired, needed)


def plan(
    composed: Composed, current: Brought | None, fleet: tuple[Member, ...], desired: int, needed: Severity, room: int
) -> Plan:
    """Fewer instances first, then the release on those that stay, then more instances, which come with the release.

    A policy with new instances makes as many of them as there are to be. It is for another version; settings alone are
    brought to the instances that there are, and so is a release that they have lost. Where settings need other
    instances, the release comes with these, by the settings of rolling updates.
    """
    deployed = current is None or current.version_label != composed.version_label
    hooks = hooks_of(composed.content, composed.version_label, current, fleet)
    goal = msgspec.structs.replace(target_of(composed, once=deployed), hooks=hooks)
    rules = rules_of(composed.settings)
    tests = [test.words for test in tests_of(composed.settings)]
    if fleet and desired and needed.need == "replacement":
        return with_smoke(replacement.plan(composed.settings, fleet, goal, desired, needed, room), tests)
    replacing = REPLACING.get(rules.policy)
    if replacing and fleet and desired and deployed and current is not None and current.digest != goal.digest:
        return with_smoke(replacing(fleet, goal, rules, desired), tests)
    surplus = max(len(fleet) - desired, 0)
    steps: list[AnyStep] = capacity.shrink(fleet, surplus) if surplus else []
    leaving = {slot for step in steps for slot in step.slots}
    staying = tuple(member for member in fleet if member.id not in leaving)
    change = Plan(policy=rules.policy, steps=())
    if any(member.digest != goal.digest for member in staying):
        change = POLICIES.get(rules.policy, all_at_once.plan)(staying, goal, rules)
        steps += change.steps
    elif staying and current is not None and health_check(current.settings) != health_check(composed.settings):
        ids = tuple(member.id for member in staying)
        steps.append(Register(key="register", slots=ids, words="Tell the balancer how to check the instances"))
    if desired > len(staying):
        steps += capacity.grow(desired - len(staying), joining(goal, once=deployed and not staying))
    made = Plan(policy=rules.policy, steps=tuple(steps), notes=change.notes, downtime=change.downtime)
    return _tested(made, composed, current, staying)


def _tested(made: Plan, composed: Composed, current: Brought | None, staying: tuple[Member, ...]) -> Plan:
    """With the release's smoke tests. Those that are new are tried although nothing is started: they may be wrong."""
    tests = tests_of(composed.settings)
    words = [test.words for test in tests]
    tested = with_smoke(made, words)
    if tested is made and words and staying and current is not None and tests_of(current.settings) != tests:
        return msgspec.structs.replace(made, steps=(*made.steps, through_balancer((staying[0].id,), words)))
    return tested


def target_of(composed: Composed, *, once: bool) -> Target:
    """`once`: a version is deployed, so its leader-only commands run. Other settings or more instances run none."""
    content = composed.content
    leader = any(command.leader_only for command in content.commands)
    hooks: Hooks = HOOKS if content.hooks else ""
    return Target(content.digest(), once=once and leader, stop_first=content.stop_first, hooks=hooks)


def hooks_of(after: Content, label: str, current: Brought | None, fleet: tuple[Member, ...]) -> Hooks:
    """Which hooks of the bundle run, if it has any.

    Those for a change of settings where every instance that answers runs the same version on the same platform; any
    other is a deployment.
    """
    if not after.hooks or current is None:
        return HOOKS if after.hooks else ""
    before = current.content
    same = (label, after.files, after.python, after.platform_version) == (
        current.version_label,
        before.files,
        before.python,
        before.platform_version,
    )
    here = all(member.digest in (current.digest, after.digest()) for member in fleet if member.reachable)
    return CONFIGHOOKS if same and here else HOOKS


def joining(goal: Target, *, once: bool) -> Target:
    """The target for more instances."""
    return msgspec.structs.replace(on_new(goal), once=goal.once and once)


def rules_of(in_force: Settings) -> Rules:
    command, splitting = "aws:elasticbeanstalk:command", "aws:elasticbeanstalk:trafficsplitting"
    policy = in_force.text(command, "DeploymentPolicy")
    if policy.startswith("Rolling") and in_force.text(ENVIRONMENT, "EnvironmentType") == "SingleInstance":
        policy = "AllAtOnce"
    seconds = in_force.text("beanpole:canary", "EvaluationSeconds")
    return Rules(
        policy=policy,
        percent=in_force.integer(splitting, "NewVersionPercent"),
        evaluation=float(seconds) if seconds else in_force.integer(splitting, "EvaluationTime") * 60.0,
        batch_size=in_force.integer(command, "BatchSize"),
        batch_is_percentage=in_force.text(command, "BatchSizeType") == "Percentage",
    )


def wanted_count(in_force: Settings, present: int) -> int:
    """The present number of instances, moved into the bounds of the settings."""
    least = in_force.integer(settings.GROUP, "MinSize")
    most = in_force.integer(settings.GROUP, "MaxSize")
    return max(least, min(present, most))


def _basis(db: sa.Connection, wanted: Update, *, name: str | None, id_: str | None) -> Basis:
    """Raises the API's errors for an environment that is not there or not ready, and for an unknown version."""
    environment = the_environment(db, name=name, id_=id_)
    _refuse_other(environment, wanted)
    if environment.status != "Ready":
        raise errors.not_ready(environment.name)
    before = environments.options(db, environment.id)
    stored = settings.after(before, wanted.changes, wanted.removals)
    label = wanted.version_label or environment.version_label or _attempted(db, environment)
    version = applications.find_version(db, environment.application, label) if label else None
    if wanted.version_label is not None and version is None:
        raise errors.no_version(wanted.version_label)
    without_health = msgspec.structs.replace(environment, health="", causes="")
    return Basis(without_health, stored, location_of(before), label, version, members(db, environment.id))


def _refuse_other(environment: Environment, wanted: Update) -> None:
    """Where the call says which application or tier it means, and the environment is of another."""
    if wanted.application not in (None, environment.application):
        raise errors.no_environment(environment.name)
    if wanted.tier not in (None, environment.tier):
        raise errors.invalid(
            f"Environment named {environment.name} has the tier {environment.tier}; a tier cannot be changed to "
            f"{wanted.tier}. Create another environment."
        )


def _begin(db: sa.Connection, control: Control, by: By, wanted: Update, decision: Decision) -> None:
    environment = decision.basis.environment
    release = environment.release
    if decision.composed is not None:
        release = submit.add_release(db, control, environment.id, decision.composed, decision.basis.stored)
    columns = {"description": wanted.description} if wanted.description is not None else {}
    if wanted.platform is not None:
        columns |= {"platform": wanted.platform, "platform_version": control.platforms.version}
    if columns:
        environments.update(db, environment.id, **columns)
    submit.begin(
        db,
        control,
        by,
        environment,
        decision.plan,
        kind="update",
        release=release,
        desired=decision.desired,
        settings=_in_force(control, decision),
        words=_first_words(environment, wanted, decision),
    )


def _attempted(db: sa.Connection, environment: Environment) -> str | None:
    """The version of the newest release, for an environment in which none has passed yet."""
    newest = environments.releases(db, environment.id)[:1]
    return newest[0].version_label if newest and environment.release is None else None


def _in_force(control: Control, decision: Decision) -> Settings:
    if decision.composed is not None:
        return decision.composed.settings
    return compose.settings_in_force(control, decision.basis.stored, [])


def _first_words(environment: Environment, wanted: Update, decision: Decision) -> list[Said]:
    words: list[Said] = [("Environment update is starting.", "INFO")]
    if wanted.changes or wanted.removals:
        words.append((f"Updating environment {environment.name}'s configuration settings.", "INFO"))
    if decision.composed is not None:
        words += [(warning, "WARN") for warning in decision.composed.warnings]
    if decision.needed.need == "deployment" and decision.needed.causes:
        words.append((f"{decision.needed.words()}: every instance gets the new configuration.", "INFO"))
    if decision.composed is not None and not decision.plan.touches:
        words.append(("Bundle and settings equal what is running: no instance is touched.", "INFO"))
    return words
