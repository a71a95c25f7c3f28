"""Make an environment's instances anew: those that run, or all of an environment that was terminated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.control import compose, create, edges, errors, locations, settings, submit, update
from beanpole.control.context import By, Control, the_environment
from beanpole.fleet.machine import memory_available
from beanpole.operations import placing
from beanpole.operations.brought import brought
from beanpole.operations.observed import members, target
from beanpole.options.smoke import tests_of
from beanpole.policies import rebuild as policy
from beanpole.policies.placement import NoPlace, memory_of
from beanpole.store import applications, environments

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.options.settings import Settings
    from beanpole.store.applications import Version
    from beanpole.store.environments import Environment
    from beanpole.store.events import Said

DAYS = 42
"""For which a terminated environment can be had back, as in Elastic Beanstalk."""

STARTING: Said = ("rebuildEnvironment is starting.", "INFO")


def rebuild(control: Control, by: By, *, name: str | None, id_: str | None) -> None:
    """Begin it. By id also an environment that was terminated. Raises the API's errors; then nothing was changed."""
    with control.database.read() as db:
        found = environments.find(db, id_) if id_ is not None else None
    if found is not None and found.terminated_at is not None and name in (None, found.name):
        _restore(control, by, found.id)
    else:
        _rebuild(control, by, name, id_)
    control.wake()


def _rebuild(control: Control, by: By, name: str | None, id_: str | None) -> None:
    with control.database.write() as db:
        environment = the_environment(db, name=name, id_=id_)
        if environment.status != "Ready":
            raise errors.not_ready(environment.name)
        # Where nothing has passed yet, what was tried last is tried again.
        newest = environments.releases(db, environment.id)[0].number
        number = environment.release or newest
        release = brought(db, control.registry, environment.id, number)
        if release is None:
            raise LookupError(f"environment {environment.id} has no release {number}")
        count = max(environment.desired, 1)
        goal = update.joining(target(release), once=environment.release is None)
        tests = [test.words for test in tests_of(release.settings)]
        room = _room(db, environment, release.settings, count, control.resident(environment.id))
        plan = policy.plan(members(db, environment.id), count, goal, room, tests)
        submit.begin(
            db,
            control,
            by,
            environment,
            plan,
            kind="rebuild",
            release=number,
            desired=None,
            settings=release.settings,
            words=[STARTING],
        )


def _room(db: sa.Connection, environment: Environment, in_force: Settings, count: int, resident: int) -> int:
    """How many instances there can be beside those that there are, `count` at most; `resident` as `locations.room`."""
    if placing.lives_on_servers(db, environment.id):
        for number in range(count, 0, -1):
            try:
                return len(placing.place(db, environment.id, in_force, number, number))
            except NoPlace:
                continue
        return 0
    available = memory_available()
    return count if available is None else min(available // memory_of(resident), count)


def _restore(control: Control, by: By, environment_id: str) -> None:
    """The environment of before under its id, its name and its settings, with the version that it ran."""
    with control.database.read() as db:
        gone, version = _restorable(db, control, environment_id)
        stored = environments.options(db, environment_id)
    stays = gone.platform_version
    composed = compose.compose(control, version, gone.platform, stored, [], None, platform_version=stays)
    count = max(composed.settings.integer(settings.GROUP, "MinSize"), 1)
    plan = create.first_plan(composed, count)
    with control.database.write() as db:
        # Nobody was kept from anything while the release was composed: all is asked once more.
        gone, there = _restorable(db, control, environment_id)
        if there.manifest != version.manifest:
            raise errors.invalid(f"Application Version {version.label} was replaced at this moment. Try again.")
        edges.refuse_local(db, placing.location_of(stored))
        locations.refuse_crowd(db, "", composed.settings, count)
        back = msgspec.structs.replace(
            gone,
            cname_prefix=gone.cname_prefix or create.free_cname(db, gone.name),
            status="Launching",
            health="Pending",
            desired=count,
            release=None,
            version_label=None,
            updated_at=control.database.now_ms(),
            terminated_at=None,
        )
        environments.update(db, gone.id, **msgspec.structs.asdict(back))
        release = submit.add_release(db, control, gone.id, composed, stored)
        submit.begin(
            db,
            control,
            by,
            back,
            plan,
            kind="create",
            release=release,
            desired=count,
            settings=composed.settings,
            words=[STARTING, *((warning, "WARN") for warning in composed.warnings)],
        )


def _restorable(db: sa.Connection, control: Control, environment_id: str) -> tuple[Environment, Version]:
    """The terminated environment and the version that it ran. Raises the API's error when it cannot be had back."""
    gone = environments.find(db, environment_id)
    if gone is None:
        raise errors.no_environment(environment_id)
    if gone.terminated_at is None:
        raise errors.not_ready(gone.name)
    if control.database.now_ms() - gone.terminated_at > DAYS * 24 * 3600 * 1000:
        raise errors.invalid(
            f"Unable to rebuild environment {gone.id}: it was terminated more than {DAYS} days ago. Create another one."
        )
    application = applications.find(db, gone.application)
    if application is None or application.deleting is not None:
        raise errors.no_application(gone.application)
    create.refuse_taken(db, gone.name, gone.cname_prefix)
    label = gone.version_label or environments.releases(db, gone.id)[0].version_label
    version = applications.find_version(db, gone.application, label)
    if version is None:
        raise errors.no_version(label)
    return gone, version
