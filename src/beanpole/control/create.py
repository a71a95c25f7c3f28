"""Create an environment: its record, its instances, and the version on them, in one operation."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from beanpole.control import applications as versions
from beanpole.control import compose, edges, errors, locations, quotas, settings, submit, update
from beanpole.operations.placing import LOCATION
from beanpole.options.smoke import tests_of
from beanpole.policies import capacity
from beanpole.policies.plan import Plan
from beanpole.policies.smoke import with_smoke
from beanpole.store import applications, environments, tags
from beanpole.store.environments import Environment

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.control.compose import Composed
    from beanpole.control.context import By, Control
    from beanpole.options.setting import Setting
    from beanpole.store.applications import Version
    from beanpole.store.events import Said

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{2,38})[A-Za-z0-9]")
_CNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{2,61})[A-Za-z0-9]")

_ID = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class NewEnvironment:
    application: str
    name: str
    version_label: str | None
    """None: the sample application, which becomes a version with the first environment that asks for it."""
    platform: str
    """Its branch name."""
    cname_prefix: str | None = None
    description: str | None = None
    tier: str = "WebServer"
    base: list[Setting] = field(default_factory=list)
    """Of a saved configuration or of the environment that is cloned: in force where the call says nothing."""
    changes: list[Setting] = field(default_factory=list)
    removals: set[environments.OptionKey] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What the creation would be: decided, and nothing done."""

    wanted: NewEnvironment
    version: Version
    composed: Composed
    stored: dict[environments.OptionKey, str]
    location: str
    count: int
    plan: Plan


def create(control: Control, by: By, wanted: NewEnvironment) -> Environment:
    """Begin the creation; the environment as it is then. Raises the API's errors, and changes nothing when it does."""
    decision = decide(control, wanted)
    with control.database.write() as db:
        new = begin(db, control, by, decision)
    control.wake()
    return new


def decide(control: Control, wanted: NewEnvironment) -> Decision:
    _check_names(wanted)
    with control.database.read() as db:
        version = _version(db, wanted)
    if version is None:
        version = versions.sample_version(control, wanted.application)
    base = {each.key: each.value for each in wanted.base}
    stored = settings.after(base, wanted.changes, wanted.removals)
    chosen = settings.as_settings(stored)
    composed = compose.compose(control, version, wanted.platform, stored, chosen, None)
    location = locations.chosen(control, composed.settings)
    # Written down even where it is the default: a later default moves nothing.
    stored |= {LOCATION: location}
    if composed.settings.text(*LOCATION) != location:
        composed = compose.compose(control, version, wanted.platform, stored, chosen, None)
    count = max(composed.settings.integer(settings.GROUP, "MinSize"), 1)
    return Decision(wanted, version, composed, stored, location, count, first_plan(composed, count))


def begin(db: sa.Connection, control: Control, by: By, decision: Decision) -> Environment:
    """In the caller's transaction. Nobody was kept from anything while it was decided: all is asked once more."""
    wanted, version, composed, count = decision.wanted, decision.version, decision.composed, decision.count
    edges.refuse_local(db, decision.location)
    locations.refuse_crowd(db, "", composed.settings, count)
    quotas.more_environments(db)
    there = _version(db, wanted)
    if there is None:
        versions.add_version(db, control, by, version)
    elif there.manifest != version.manifest:
        raise errors.invalid(f"Application Version {version.label} was replaced at this moment. Try again.")
    now = control.database.now_ms()
    new = Environment(
        id="e-" + "".join(secrets.choice(_ID) for _ in range(10)),
        name=wanted.name,
        application=wanted.application,
        description=wanted.description,
        cname_prefix=(wanted.cname_prefix or free_cname(db, wanted.name)).lower(),
        tier=wanted.tier,
        platform=wanted.platform,
        platform_version=composed.content.platform_version,
        status="Launching",
        health="Pending",
        causes="[]",
        desired=count,
        version_label=None,
        release=None,
        created_at=now,
        updated_at=now,
    )
    environments.add(db, new)
    environments.put_options(db, new.id, decision.stored)
    tags.add(db, control.arn("environment", new.application, new.name), wanted.tags)
    release = submit.add_release(db, control, new.id, composed, decision.stored)
    words: list[Said] = [
        ("createEnvironment is starting.", "INFO"),
        (f"Using {control.bucket} as Amazon S3 storage bucket for environment data.", "INFO"),
        *((warning, "WARN") for warning in composed.warnings),
    ]
    submit.begin(
        db,
        control,
        by,
        new,
        decision.plan,
        kind="create",
        release=release,
        desired=count,
        settings=composed.settings,
        words=words,
    )
    return new


def first_plan(composed: Composed, count: int) -> Plan:
    """So many instances where there is none yet, all at once, whatever the policy."""
    goal = update.joining(update.target_of(composed, once=True), once=True)
    tests = [test.words for test in tests_of(composed.settings)]
    return with_smoke(Plan(policy="AllAtOnce", steps=tuple(capacity.grow(count, goal))), tests)


def cname_available(control: Control, prefix: str) -> bool:
    with control.database.read() as db:
        return _CNAME.fullmatch(prefix) is not None and environments.find_cname(db, prefix.lower()) is None


def _check_names(wanted: NewEnvironment) -> None:
    if not _NAME.fullmatch(wanted.name):
        raise errors.invalid(
            f"Value {wanted.name} at 'EnvironmentName' failed to satisfy constraint: Member must have 4 to 40 letters, "
            "digits and hyphens, with no hyphen at either end."
        )
    if wanted.tier != "WebServer":
        raise errors.invalid(f"Tier {wanted.tier} is not built yet: Beanpole has WebServer environments.")
    if wanted.cname_prefix is not None and not _CNAME.fullmatch(wanted.cname_prefix):
        raise errors.invalid(
            f"Value {wanted.cname_prefix} at 'CNAMEPrefix' failed to satisfy constraint: Member must have 4 to 63 "
            "letters, digits and hyphens, with no hyphen at either end."
        )


def _version(db: sa.Connection, wanted: NewEnvironment) -> Version | None:
    """The version to launch; None for the sample that is none yet. Raises the API's error when nothing can be."""
    application = applications.find(db, wanted.application)
    if application is None:
        raise errors.no_application(wanted.application)
    if application.deleting is not None:
        raise errors.invalid(f"Application {wanted.application} is being deleted.")
    refuse_taken(db, wanted.name, wanted.cname_prefix)
    label = wanted.version_label or versions.SAMPLE
    version = applications.find_version(db, wanted.application, label)
    if version is None and wanted.version_label is not None:
        raise errors.no_version(label)
    return version


def refuse_taken(db: sa.Connection, name: str, cname_prefix: str | None) -> None:
    """Raises the API's error where another environment has the name, or that way to it."""
    if environments.find_live(db, name) is not None:
        raise errors.invalid(f"Environment {name} already exists.")
    if cname_prefix and environments.find_cname(db, cname_prefix.lower()) is not None:
        raise errors.invalid(f"DNS name ({cname_prefix}) is not available.")


def free_cname(db: sa.Connection, name: str) -> str:
    """The environment's name, and some random letters behind it when another environment has that."""
    prefix = name.lower()
    while environments.find_cname(db, prefix) is not None:
        prefix = f"{name.lower()}-{''.join(secrets.choice(_ID) for _ in range(6))}"
    return prefix
