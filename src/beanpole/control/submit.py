"""One transaction that begins an operation: its release, its plan, its first event, the environment's new status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.control import errors
from beanpole.operations import release as releases
from beanpole.operations.brought import brought
from beanpole.operations.steps.leave import DRAIN_DELAY
from beanpole.operations.steps.smoke import limit
from beanpole.options.smoke import tests_of
from beanpole.policies import plan as plans
from beanpole.policies.plan import Activate, After, Finish, Gate, Leave, Pause, Register, Shift, Watch
from beanpole.store import environments, events, operations
from beanpole.store.events import Said, Subject
from beanpole.store.operations import Busy, Draft

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from beanpole.control.compose import Composed
    from beanpole.control.context import By, Control
    from beanpole.options.settings import Settings
    from beanpole.policies.plan import Plan
    from beanpole.store.environments import Environment, OptionKey, Status
    from beanpole.store.operations import Origin

ENGINE_GRACE = 240
"""Seconds that Elastic Beanstalk adds to the command time-out."""

FINISH = 300
"""Seconds of a batch for what has limits of its own that no setting changes: the balancer, the switch, the commit."""

ARRIVAL = 1800
"""Seconds for dependencies to be resolved, fetched and installed."""


def add_release(
    db: sa.Connection, control: Control, environment_id: str, composed: Composed, stored: dict[OptionKey, str]
) -> int:
    return environments.add_release(
        db,
        environment_id,
        version_label=composed.version_label,
        digest=composed.content.digest(),
        content=releases.encode(composed.content),
        settings=encode_stored(stored),
        created_at=control.database.now_ms(),
    )


def encode_stored(stored: dict[OptionKey, str]) -> str:
    return msgspec.json.encode([(*key, value) for key, value in sorted(stored.items())]).decode()


def begin(
    db: sa.Connection,
    control: Control,
    by: By,
    environment: Environment,
    plan: Plan,
    *,
    kind: str,
    release: int | None,
    desired: int | None,
    settings: Settings | None = None,
    limit: int = 0,
    words: Sequence[Said],
    origin: Origin = "user",
) -> int:
    """Submit the operation; answers its id. Raises the API's error when the environment is busy.

    It is ended when all that its steps may take under these settings is over; without settings after `limit` seconds.
    """
    now = control.database.now_ms()
    seconds = limit
    if settings is not None:
        before = brought(db, control.registry, environment.id, environment.release)
        seconds = deadline(plan, settings, before.settings if before is not None else None)
    draft = Draft(
        environment_id=environment.id,
        kind=kind,
        origin=origin,
        actor=by.user,
        request_id=by.request_id,
        release=release,
        previous=environment.release,
        desired=desired,
        plan=plans.encode(plan),
        deadline_at=now + seconds * 1000,
    )
    try:
        operation = operations.submit(db, now, draft)
    except Busy:
        raise errors.not_ready(environment.name) from None
    if origin == "user":
        status: Status = "Launching" if kind == "create" else "Updating"
        environments.update(db, environment.id, status=status, updated_at=now)
    found = environments.find_release(db, environment.id, release)
    label = found.version_label if found else None
    subject = Subject(environment.application, environment.id, environment.name, label, by.request_id)
    spoken: list[Said] = [*words, *((note, "WARN") for note in plan.notes)]
    for message, severity in spoken:
        events.say(db, now, subject, message, severity)
    return operation


def deadline(plan: Plan, settings: Settings, before: Settings | None = None) -> int:
    """Seconds until the operation is ended: the sum of its steps' own limits. Only a fault of ours reaches it.

    `before`: the settings in force until now.
    """
    ours = "beanpole:deployment"
    command = settings.integer("aws:elasticbeanstalk:command", "Timeout") + ENGINE_GRACE
    start = int(settings.seconds(ours, "StartTimeout"))
    grace = int(settings.seconds(ours, "StopGrace"))
    smoke = int(limit(tests_of(settings)))
    gate = start + int(settings.integer(ours, "GateChecks") * settings.seconds(ours, "GateInterval"))
    batches = sum(isinstance(step, Activate | Register) for step in plan.steps)
    batch = command + 2 * start + gate + smoke + 2 * grace + FINISH
    waits = sum(step.seconds for step in plan.steps if isinstance(step, Pause | Watch))
    waits += sum(step.limit for step in plan.steps if isinstance(step, After))
    gates = sum(step.within for step in plan.steps if isinstance(step, Gate))
    ends = 1 + sum(isinstance(step, Shift | Leave) for step in plan.steps)
    end = max(end_of(settings), end_of(before or settings))
    hooks = command * sum(isinstance(step, Finish) and bool(step.hooks) for step in plan.steps)
    return ARRIVAL + command + batches * batch + hooks + smoke + int(waits + gates) + ends * end


def end_of(settings: Settings) -> int:
    """Seconds for what runs to end: the drains of a release that leaves and of an instance that does."""
    return 2 * (settings.integer(*DRAIN_DELAY) + int(settings.seconds("beanpole:deployment", "StopGrace")))
